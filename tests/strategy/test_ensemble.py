"""Several strategies on one account: shares, netting, memory, attribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.testing import assert_allclose

from desk.errors import ContractBroken
from desk.strategy.ensemble import Ensemble
from desk.strategy.policy import CrossSection, Decision, View

AT = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("A/USDT", "B/USDT")


@dataclass
class Fixed:
    """Wants the same of every symbol, or by symbol, and writes down what it was told it wanted before."""

    wishes: Mapping[str, float]
    warmup_bars: int = 1
    told: list[float] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)

    def target(self, view: View) -> float:
        self.told.append(view.previous)
        self.closes.append(len(view.closes))
        return self.wishes[view.symbol]


@dataclass(frozen=True)
class Counting:
    """A portfolio policy with a memory of one number."""

    warmup_bars: int = 1

    def decide(self, market: CrossSection) -> Decision:
        count = market.kept.get("count", 0.0) + 1
        return Decision({view.symbol: count / 10 for view in market.views}, {"count": count})


def market_of(previous: Mapping[str, float] | None = None, kept: Mapping[str, float] | None = None, n_bars: int = 41) -> CrossSection:
    """A market in which B moves twice as much as A, uncorrelated."""
    steps = np.array([[1, 2], [1, -2], [-1, 2], [-1, -2]] * (n_bars // 4) + [[1, 2]] * (n_bars % 4)) / 100
    closes = 100 * np.cumprod(1 + steps, axis=0)
    views = tuple(
        View(symbol, AT, closes[:, place], np.zeros(0, dtype=np.float32), None, (previous or {}).get(symbol, 0.0)) for place, symbol in enumerate(SYMBOLS)
    )
    return CrossSection(views, closes, share=0.5, kept=kept or {})


def after(decision: Decision) -> CrossSection:
    """The next cross-section, as a session would make it."""
    return market_of(decision.exposures, decision.kept)


def test_wishes_are_netted_per_symbol_by_the_members_shares() -> None:
    long, mixed = Fixed({"A/USDT": 1.0, "B/USDT": 1.0}), Fixed({"A/USDT": -1.0, "B/USDT": 0.5})

    decision = Ensemble({"long": long, "mixed": mixed}, (0.6, 0.2)).decide(market_of())

    assert {"A/USDT": 0.6 - 0.2, "B/USDT": 0.6 + 0.2 * 0.5} == decision.exposures


def test_each_members_part_is_kept_by_name_and_adds_up_to_the_net() -> None:
    decision = Ensemble({"a": Fixed({"A/USDT": 1.0, "B/USDT": 0.3}), "b": Fixed({"A/USDT": -1.0, "B/USDT": 0.9})}, (0.5, 0.5)).decide(market_of())

    for symbol in SYMBOLS:
        assert decision.exposures[symbol] == decision.kept[f"{symbol}|a"] + decision.kept[f"{symbol}|b"]


def test_each_member_is_told_its_own_last_wish_and_no_more_closes_than_it_asked_for() -> None:
    """Netted to zero exactly, and yet each knows that it is in."""
    long, short = Fixed({"A/USDT": 1.0, "B/USDT": 0.25}, warmup_bars=5), Fixed({"A/USDT": -1.0, "B/USDT": -0.25}, warmup_bars=9)
    ensemble = Ensemble({"long": long, "short": short}, (0.5, 0.5))

    first = ensemble.decide(market_of())
    ensemble.decide(after(first))

    assert {"A/USDT": 0.0, "B/USDT": 0.0} == first.exposures
    assert [0.0, 0.0, 1.0, 0.25] == long.told
    assert [0.0, 0.0, -1.0, -0.25] == short.told
    assert ({5}, {9}) == (set(long.closes), set(short.closes))


def test_members_know_that_they_are_out_when_the_account_was_stopped_out() -> None:
    """A stop sets the symbol's exposure to 0 behind everybody's back; the other symbol is as it was."""
    member = Fixed({"A/USDT": 1.0, "B/USDT": 1.0})
    ensemble = Ensemble({"one": member, "two": Fixed({"A/USDT": 0.0, "B/USDT": 0.0})}, (0.5, 0.5))
    first = ensemble.decide(market_of())

    ensemble.decide(market_of({**first.exposures, "A/USDT": 0.0}, first.kept))

    assert [0.0, 0.0, 0.0, 1.0] == member.told


def test_without_shares_capital_goes_by_the_inverse_of_risk() -> None:
    """B moves twice as much: who holds it has half the capital of who holds A."""
    members = {"a": Fixed({"A/USDT": 1.0, "B/USDT": 0.0}), "b": Fixed({"A/USDT": 0.0, "B/USDT": 1.0})}

    decision = Ensemble(members, covariance_bars=10).decide(market_of(n_bars=41))

    assert_allclose([decision.exposures[symbol] for symbol in SYMBOLS], [2 / 3, 1 / 3], rtol=0.05)
    assert_allclose(sum(decision.exposures.values()), 1.0, rtol=1e-12)


def test_who_wants_nothing_leaves_its_even_share_idle() -> None:
    members = {"in": Fixed({"A/USDT": 1.0, "B/USDT": 1.0}), "out": Fixed({"A/USDT": 0.0, "B/USDT": 0.0})}

    assert {"A/USDT": 0.5, "B/USDT": 0.5} == Ensemble(members, covariance_bars=10).decide(market_of()).exposures


def test_who_has_no_opinion_stays_as_it_was_and_nobodys_opinion_is_no_order() -> None:
    silent, clear = Fixed({"A/USDT": 1.0, "B/USDT": 1.0}), Fixed({"A/USDT": 0.5, "B/USDT": 0.5})
    ensemble = Ensemble({"silent": silent, "clear": clear}, (0.5, 0.5))
    first = ensemble.decide(market_of())
    silent.wishes, clear.wishes = dict.fromkeys(SYMBOLS, math.nan), {"A/USDT": 0.0, "B/USDT": math.nan}

    assert {"A/USDT": 0.5} == ensemble.decide(after(first)).exposures


def test_members_may_be_portfolios_with_a_memory_of_their_own() -> None:
    ensemble = Ensemble({"slow": Counting(), "other": Counting()}, (1.0, 0.0))
    first = ensemble.decide(market_of())

    second = ensemble.decide(after(replace(first, kept={**first.kept, "other/count": 7.0})))

    assert {"A/USDT": 0.2, "B/USDT": 0.2} == second.exposures
    assert (2.0, 8.0) == (second.kept["slow/count"], second.kept["other/count"])


@pytest.mark.parametrize("shares", [(1.0,), (0.6, 0.6), (1.2, -0.2)])
def test_shares_must_fit_the_members_and_the_account(shares: tuple[float, ...]) -> None:
    with pytest.raises(ContractBroken, match="one share for each"):
        Ensemble({"a": Counting(), "b": Counting()}, shares)


def test_fractions_that_round_above_one_stay_exposures() -> None:
    members = {str(number): Fixed({"A/USDT": 1.0, "B/USDT": -1.0}) for number in range(4)}
    shares = (0.05, 0.55, 0.3, 0.1)

    decision = Ensemble(members, shares).decide(market_of())

    assert sum(shares) > 1
    assert max(map(abs, decision.exposures.values())) <= 1
