"""Several strategies on one account: each has a share of the capital, their wishes are netted per symbol before anything is ordered.

What each of them wanted and put into the net is kept by name, so it is in the journal of every step: gains can be attributed to members, and each
member is told its own last exposure, not the account's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from desk.errors import ContractBroken
from desk.strategy.allocation import Floats, ewma_covariance
from desk.strategy.construction import WINDOW_AGES
from desk.strategy.policy import CrossSection, Decision, Strategy, View, decided, wanted


class Ensemble:
    """Members by name, with fixed `shares` of the capital (at most 1 together); without shares, by the inverse of the risk of what each wants.

    Kept of every symbol and member: `<symbol>|<member>`, its part of the symbol's exposure, and `<symbol>|<member>|own`, what it wants of its own capital.
    """

    def __init__(self, members: Mapping[str, Strategy], shares: Sequence[float] = (), *, covariance_bars: int = 60) -> None:
        if not members or (shares and (len(shares) != len(members) or min(shares) < 0 or math.fsum(shares) > 1 + 1e-9)):
            raise ContractBroken(
                f"expected members and, if any, one share for each, at most 1 together, found {len(members)} with {list(shares)}: set them right"
            )
        self._members = dict(members)
        self._shares = tuple(shares)
        self._covariance_bars = covariance_bars

    @property
    def warmup_bars(self) -> int:
        """Enough for every member, and for the covariance behind shares by risk."""
        window = 1 if self._shares else WINDOW_AGES * self._covariance_bars + 1
        return max(window, *(member.warmup_bars for member in self._members.values()))

    def decide(self, market: CrossSection) -> Decision:
        """The members' exposures times their shares, added up. A member without an opinion stays as it was; with none at all there is no order."""
        seen = {name: self._seen(name, member, market) for name, member in self._members.items()}
        said = {name: decided(member, seen[name]) for name, member in self._members.items()}
        own = {name: {view.symbol: _or_before(wanted(said[name], view), view) for view in seen[name].views} for name in said}
        shares = self._shares_of(own, market)
        kept = {f"{name}/{key}": value for name, decision in said.items() for key, value in decision.kept.items()}
        exposures = dict[str, float]()
        for view in market.views:
            if all(math.isnan(wanted(decision, view)) for decision in said.values()):
                continue
            parts = {name: share * own[name][view.symbol] for name, share in shares.items()}
            exposures[view.symbol] = _netted(parts.values())
            kept |= {f"{view.symbol}|{name}": part for name, part in parts.items()}
            kept |= {f"{view.symbol}|{name}|own": own[name][view.symbol] for name in parts}
        return Decision(exposures, kept)

    def _seen(self, name: str, member: Strategy, market: CrossSection) -> CrossSection:
        """The market as one member would see it, were it alone."""
        bars, prefix = member.warmup_bars, f"{name}/"
        views = tuple(replace(view, closes=view.closes[-bars:], previous=self._before(name, view, market.kept)) for view in market.views)
        kept = {key.removeprefix(prefix): value for key, value in market.kept.items() if key.startswith(prefix)}
        return replace(market, views=views, closes=market.closes[-bars:], kept=kept)

    def _before(self, name: str, view: View, kept: Mapping[str, float]) -> float:
        """What a member wanted last; 0 where the session since gave up what the members had netted to, as a stop does."""
        netted = _netted(kept.get(f"{view.symbol}|{each}", 0.0) for each in self._members)
        return kept.get(f"{view.symbol}|{name}|own", 0.0) if netted == view.previous else 0.0

    def _shares_of(self, own: Mapping[str, Mapping[str, float]], market: CrossSection) -> dict[str, float]:
        """Capital by member. By risk: who wants nothing leaves an even share idle, the others split theirs by the inverse of their deviations."""
        if self._shares:
            return dict(zip(self._members, self._shares, strict=True))
        covariance = ewma_covariance(market.closes, self._covariance_bars)
        risks = {name: _deviation(np.array([exposures[view.symbol] for view in market.views]), covariance) for name, exposures in own.items()}
        inverse = {name: 1 / risk if risk > 0 else 0.0 for name, risk in risks.items()}
        busy, total = sum(risk > 0 for risk in risks.values()) / len(risks), sum(inverse.values())
        return {name: busy * each / total if total else 1 / len(risks) for name, each in inverse.items()}


def _netted(parts: Iterable[float]) -> float:
    """The sum, which rounding must not take out of [-1, 1]."""
    return min(max(sum(parts), -1.0), 1.0)


def _or_before(exposure: float, view: View) -> float:
    return view.previous if math.isnan(exposure) else exposure


def _deviation(exposures: Floats, covariance: Floats) -> float:
    return math.sqrt(max(float(exposures @ covariance @ exposures), 0.0))
