from __future__ import annotations

from decimal import Decimal

import numba
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.trading import CostSettings
from desk.costs import FeeRates, borrow, charged_rates, fee, funding, rates_at, square_root_impact_bps, tiered_rate, trade_cost_fraction

shares = st.floats(0.0, 1.0)
bps = st.floats(0.0, 500.0)
compiled = numba.njit(trade_cost_fraction)


def test_a_quarter_of_the_volume_pays_half_of_the_impact_and_half_the_spread() -> None:
    actual = trade_cost_fraction(1.0, 10.0, 0.25)

    assert pytest.approx(6e-4, rel=1e-15) == actual


@given(half_spread=bps, impact=bps, participation=shares)
def test_every_kind_of_array_and_the_compiler_give_the_same_cost(half_spread: float, impact: float, participation: float) -> None:
    expected = trade_cost_fraction(half_spread, impact, participation)

    column = pl.DataFrame({"share": [participation]}).select(trade_cost_fraction(half_spread, impact, pl.col("share"))).item()
    # The machine's root and the C library's power may differ in the last bit; prices are whole ticks.
    assert pytest.approx(expected, rel=1e-15) == compiled(half_spread, impact, participation)
    assert pytest.approx(expected, rel=1e-15) == trade_cost_fraction(half_spread, impact, np.array([participation]))[0]
    assert pytest.approx(expected, rel=1e-15) == trade_cost_fraction(half_spread, impact, torch.tensor([participation], dtype=torch.float64)).item()
    assert pytest.approx(expected, rel=1e-15) == column


@given(half_spread=bps, impact=bps, less=shares, more=shares)
def test_taking_more_of_a_bar_never_costs_less(half_spread: float, impact: float, less: float, more: float) -> None:
    less, more = sorted((less, more))

    assert trade_cost_fraction(half_spread, impact, less) <= trade_cost_fraction(half_spread, impact, more)


def test_an_unknown_participation_has_an_unknown_cost() -> None:
    assert np.isnan(trade_cost_fraction(1.0, 10.0, float("nan")))


def test_a_fee_is_exact_in_decimal() -> None:
    assert Decimal("0.12345") == fee(Decimal("123.45"), Decimal("0.001"))


@given(half_spread=bps, impact=bps, sizes=st.tuples(shares, shares), between=st.floats(0.0, 1.0))
def test_the_cost_of_a_trade_is_convex_in_its_size(half_spread: float, impact: float, sizes: tuple[float, float], between: float) -> None:
    def cost(size: float) -> float:
        return float(size * trade_cost_fraction(half_spread, impact, size))

    small, large = sizes
    middle = between * small + (1 - between) * large
    assert cost(middle) <= between * cost(small) + (1 - between) * cost(large) + 1e-12


@given(half_spread=bps, impact=bps, parts=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=20))
def test_splitting_a_trade_within_a_bar_saves_nothing(half_spread: float, impact: float, parts: list[float]) -> None:
    """Impact is charged on what all fills of the bar take together."""
    total = sum(parts)

    split = sum(part * trade_cost_fraction(half_spread, impact, total / 20) for part in parts)

    assert pytest.approx(total * trade_cost_fraction(half_spread, impact, total / 20), rel=1e-9) == split


THRESHOLDS, RATES = (0.0, 1e6, 5e6), (0.001, 0.0008, 0.0004)


@pytest.mark.parametrize(("volume", "rate"), [(0.0, 0.001), (999_999.0, 0.001), (1e6, 0.0008), (4e6, 0.0008), (5e6, 0.0004), (1e9, 0.0004)])
def test_every_kind_of_array_pays_the_tier_it_reached(volume: float, rate: float) -> None:
    assert pytest.approx(rate) == tiered_rate(volume, THRESHOLDS, RATES)
    assert pytest.approx(rate) == tiered_rate(np.array([volume]), THRESHOLDS, RATES)[0]
    assert pytest.approx(rate) == tiered_rate(torch.tensor([volume], dtype=torch.float64), THRESHOLDS, RATES).item()
    assert pytest.approx(rate) == pl.DataFrame({"volume": [volume]}).select(tiered_rate(pl.col("volume"), THRESHOLDS, RATES)).item()


SCHEDULE = CostSettings(
    fee_rate=0.001,
    maker_share=0.8,
    fee_tiers=[{"volume": 1e6, "taker": 0.0009, "maker": 0.0007}, {"volume": 5e6, "taker": 0.0007}, {"volume": 2e7, "taker": 0}],
)


@pytest.mark.parametrize(
    ("volume", "taker", "maker"),
    [
        (0.0, 0.001, 0.0008),
        (np.nextafter(1e6, 0), 0.001, 0.0008),
        (1e6, 0.0009, 0.0007),
        (np.nextafter(5e6, 0), 0.0009, 0.0007),
        (5e6, 0.0007, 0.0007 * 0.8),
        (np.nextafter(2e7, 0), 0.0007, 0.0007 * 0.8),
        (2e7, 0.0, 0.0),
        (1e12, 0.0, 0.0),
    ],
)
def test_a_tier_holds_from_its_volume_on_with_the_very_rates_of_the_schedule(volume: float, taker: float, maker: float) -> None:
    """To the last bit: what is charged is the Decimal that the rate prints as. Without a maker's rate the tier's taker pays `maker_share`."""
    found = charged_rates(SCHEDULE.model_copy(update={"volume_30d": float(volume)}))

    assert FeeRates(taker, maker) == found
    assert [taker, maker] == [rates[0] for rates in rates_at(np.array([volume]), SCHEDULE)]


@given(volume=st.floats(0.0, 1e15), rate=st.floats(0.0, 0.0999), share=shares)
def test_without_tiers_no_volume_changes_what_is_charged(volume: float, rate: float, share: float) -> None:
    assert FeeRates(rate, rate * share) == charged_rates(CostSettings(fee_rate=rate, maker_share=share, volume_30d=volume))


def test_of_an_unknown_volume_the_rate_is_unknown() -> None:
    assert np.isnan(rates_at(np.array([np.nan]), SCHEDULE)).all()


def test_a_volatility_of_one_percent_moves_the_price_one_percent_for_a_whole_bar() -> None:
    assert pytest.approx(100.0) == square_root_impact_bps(0.01)
    assert pytest.approx(0.01) == trade_cost_fraction(0.0, square_root_impact_bps(0.01), 1.0)


def test_longs_pay_funding_and_shorts_pay_interest() -> None:
    assert [0.1, -0.1] == pytest.approx([funding(1000.0, 1e-4), funding(-1000.0, 1e-4)])
    assert [0.0, 25.0] == pytest.approx(borrow(np.array([1000.0, -1000.0]), 0.05, 0.5).tolist())
