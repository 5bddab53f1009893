"""From forecasts to one portfolio: each construction says which weights it wants, and all fit them into the same limits.

No symbol takes more than its share (the weight of exposure 1), all together at most `gross`; what symbols without a bar hold counts. Proportions
are kept: weights are made smaller by one factor, never cut one by one (mean-variance alone knows the limits when it optimises). A symbol without a
forecast, or whose price never moved, is flat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from configs.trading import CostSettings, PolicySettings
from configs.vocabulary import Construction
from desk.costs import charged_rates, trade_cost_fraction
from desk.strategy.allocation import (
    Floats,
    aim_discount,
    equal_risk,
    ewma_covariance,
    fitted,
    hierarchical,
    kelly,
    mean_variance,
    patience,
    shrunk_correlation,
    volatility_target,
)
from desk.strategy.band import BandPolicy
from desk.strategy.policy import CrossSection, Decision, View

# A window this many mean ages long holds all but 2 % of the weights.
WINDOW_AGES = 4


@dataclass(frozen=True, slots=True)
class Opinions:
    """What is known of the assets with an opinion, arrays [asset].

    `mean` of the simple return over the forecast's horizon and its `covariance`; `one_bar`, the covariance over one bar; `side` -1, 0 or 1 by the band;
    `before`, the weights wanted last. `largest` and `gross` limit weights.
    """

    mean: Floats
    covariance: Floats
    one_bar: Floats
    side: Floats
    before: Floats
    largest: float
    gross: float


Weigh = Callable[[Opinions, PolicySettings, CostSettings], Floats]


class PortfolioConstruction:
    """One construction as a portfolio policy. It keeps nothing: what it wanted last is in the views."""

    def __init__(self, construction: Construction, settings: PolicySettings, costs: CostSettings) -> None:
        self._weigh = CONSTRUCTIONS[construction]
        self._settings = settings
        self._costs = costs
        self._band = BandPolicy(settings)

    @property
    def warmup_bars(self) -> int:
        """Closes behind a covariance."""
        return WINDOW_AGES * self._settings.covariance_bars + 1

    def decide(self, market: CrossSection) -> Decision:
        """Exposures of every symbol with a view."""
        exposures = dict.fromkeys((view.symbol for view in market.views), 0.0)
        one_bar = ewma_covariance(market.closes, self._settings.covariance_bars)
        known = [place for place, view in enumerate(market.views) if _has_opinion(view) and one_bar[place, place] > 0]
        opinions = self._opinions(market, one_bar, known)
        if known and opinions.gross > 0:
            weights = fitted(self._weigh(opinions, self._settings, self._costs), opinions.largest, opinions.gross)
            # Weight over share may round to a hair above one.
            exposures |= zip((market.views[place].symbol for place in known), np.clip(weights / market.share, -1.0, 1.0).tolist(), strict=True)
        return Decision(exposures)

    def _opinions(self, market: CrossSection, one_bar: Floats, known: list[int]) -> Opinions:
        views = [market.views[place] for place in known]
        forecasts = [view.forecast for view in views if view.forecast]
        deviation = np.array([each.sd for each in forecasts])
        own = one_bar[np.ix_(known, known)]
        correlation, bar_deviation = shrunk_correlation(own, self._settings.shrinkage), np.sqrt(np.diag(own))
        return Opinions(
            # Forecasts speak of log returns; half the variance is what compounding takes from the simple one.
            mean=np.array([each.mean for each in forecasts]) + deviation**2 / 2,
            covariance=correlation * np.outer(deviation, deviation),
            one_bar=correlation * np.outer(bar_deviation, bar_deviation),
            side=np.sign([self._band.target(view) for view in views]),
            before=np.array([view.previous for view in views]) * market.share,
            largest=market.share,
            gross=self._settings.gross - market.elsewhere * market.share,
        )


def _has_opinion(view: View) -> bool:
    return view.forecast is not None and view.forecast.sd > 0 and np.isfinite(view.forecast.mean)


def _vol_target(seen: Opinions, settings: PolicySettings, _: CostSettings) -> Floats:
    """Even weights on the band's sides, as large as the wanted deviation of the account allows."""
    return volatility_target(seen.side * seen.largest, seen.one_bar, settings.deviation)


def _kelly(seen: Opinions, settings: PolicySettings, _: CostSettings) -> Floats:
    """A fraction of each asset's growth-optimal position."""
    best = settings.kelly_fraction * kelly(seen.mean, np.diag(seen.covariance))
    return np.clip(best, -seen.largest if settings.allow_short else 0.0, seen.largest)


def _mean_variance(seen: Opinions, settings: PolicySettings, _: CostSettings) -> Floats:
    return mean_variance(seen.mean, seen.covariance, settings.aversion, largest=seen.largest, gross=seen.gross, shorts=settings.allow_short)


def _risk_parity(seen: Opinions, settings: PolicySettings, _: CostSettings) -> Floats:
    return _by_risk(seen, equal_risk)


def _hrp(seen: Opinions, settings: PolicySettings, _: CostSettings) -> Floats:
    return _by_risk(seen, hierarchical)


def _by_risk(seen: Opinions, split: Callable[[Floats], Floats]) -> Floats:
    """All the capital, split by risk over the assets that the band takes a side in; what is short hedges what is long."""
    weights, taken = np.zeros(len(seen.side)), np.flatnonzero(seen.side)
    if len(taken):
        side = seen.side[taken]
        weights[taken] = seen.gross * side * split(seen.one_bar[np.ix_(taken, taken)] * np.outer(side, side))
    return weights


def _garleanu_pedersen(seen: Opinions, settings: PolicySettings, costs: CostSettings) -> Floats:
    """Part of the way from what was wanted last to the mean-variance weights of what forecasts will still be worth.

    Their quadratic cost is set so that a trade of a whole share costs what the simulator charges for it, impact aside.
    """
    charged = charged_rates(costs).taker + trade_cost_fraction(costs.half_spread_bps, 0.0, 0.0)
    cost = 2 * charged / (seen.largest * float(np.diag(seen.one_bar).mean()))
    lasting = seen.mean / aim_discount(settings.aversion, cost, settings.signal_decay)
    aim = mean_variance(lasting, seen.covariance, settings.aversion, largest=seen.largest, gross=seen.gross, shorts=settings.allow_short)
    return seen.before + patience(settings.aversion, cost) * (aim - seen.before)


CONSTRUCTIONS: dict[Construction, Weigh] = {
    Construction.VOL_TARGET: _vol_target,
    Construction.KELLY: _kelly,
    Construction.MEAN_VARIANCE: _mean_variance,
    Construction.RISK_PARITY: _risk_parity,
    Construction.HRP: _hrp,
    Construction.GARLEANU_PEDERSEN: _garleanu_pedersen,
}
