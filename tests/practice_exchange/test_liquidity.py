"""What one bar gives: closed forms for price, cap and limits, and the grid."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate

import hypothesis.strategies as st
import pytest
from hypothesis import given

from configs.trading import CostSettings
from desk.execution.fills import impact_share
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.listing import list_symbol

COSTS = CostSettings(fee_rate=0.001, half_spread_bps=1.0, impact_bps=10.0, participation_cap=0.1)
LISTING = list_symbol("BTC/USDT", 40_000.0)


def quote(opened: float = 40_000.0, volume: float = 200.0, taken: str = "0") -> Quote:
    return Quote(LISTING, COSTS, opened, volume, Decimal(taken))


def test_the_price_is_the_open_with_half_spread_and_root_impact() -> None:
    """8 of 200 is 4 %, its root 0.2: 1 + 10 * 0.2 = 3 basis points."""
    assert Decimal("40012.00") == quote().price(Decimal(8), 1)
    assert Decimal("39988.00") == quote().price(Decimal(8), -1)


def test_a_later_slice_pays_what_it_adds_to_the_impact_of_all() -> None:
    """18 of 200 after 8 of 200: roots 0.2 and 0.3, (0.027 - 0.008) / (0.09 - 0.04) = 0.38, so 1 + 10 * 0.38 = 4.8 basis points."""
    assert Decimal("40019.20") == quote(taken="8").price(Decimal(10), 1)
    assert Decimal("39980.80") == quote(taken="8").price(Decimal(10), -1)


def impact(slice_: Decimal, taken: Decimal, volume: float) -> float:
    """What a slice pays of the impact of a whole bar, read off a price so fine that no rounding shows: at 1, with no spread and an impact of 100 %."""
    fine = replace(LISTING, tick=Decimal("1e-18"))
    costs = CostSettings(half_spread_bps=0.0, impact_bps=10_000.0)
    return float(Quote(fine, costs, 1.0, volume, taken).price(slice_, 1)) - 1


parts = st.lists(st.integers(1, 10**6), min_size=1, max_size=8)


@given(parts, st.floats(10.0, 1e6))
def test_however_an_order_is_split_its_slices_pay_together_what_it_pays_at_once(lots: list[int], volume: float) -> None:
    slices = [number * LISTING.lot for number in lots]
    before = list(accumulate(slices, initial=Decimal(0)))

    apart = sum(float(each) * impact(each, taken, volume) for each, taken in zip(slices, before, strict=False))

    assert float(before[-1]) * impact(before[-1], Decimal(0), volume) == pytest.approx(apart, rel=1e-9)


@given(st.integers(0, 10**7), st.integers(1, 10**6), st.integers(1, 10**6), st.floats(10.0, 1e6))
def test_more_is_dearer_and_so_is_later(taken: int, lots: int, more: int, volume: float) -> None:
    """What all of a bar pays is convex in how much it is: the mean over a slice grows with its end and with its beginning."""
    before, slice_, further = (number * LISTING.lot for number in (taken, lots, more))

    first = impact(slice_, before, volume)

    assert impact(slice_ + further, before, volume) >= first
    assert impact(slice_, before + further, volume) >= first


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.floats(10.0, 1e6))
def test_the_backtest_charges_a_slice_the_same_impact(taken: int, lots: int, volume: float) -> None:
    """Two formulas of one law, written apart: the exchange imports nothing of the desk."""
    lot = float(LISTING.lot)

    charged = math.sqrt(impact_share(lots, volume, lot, taken))

    assert charged == pytest.approx(impact(lots * LISTING.lot, taken * LISTING.lot, volume), rel=1e-9)


def test_a_bar_gives_its_share_and_no_more() -> None:
    assert Decimal(20) == quote().available
    assert Decimal(5) == quote(taken="15").available
    assert Decimal(0) == quote(taken="20").available
    assert Decimal(0) == quote(volume=0.0).available


volumes = st.floats(0.001, 1e6)
opens = st.floats(1_000.0, 200_000.0)


@given(opens, volumes, st.integers(1, 10**7), st.integers(-50, 50), st.sampled_from([1, -1]))
def test_within_a_limit_is_the_most_that_the_limit_allows(opened: float, volume: float, lots: int, offset_bps: int, sign: int) -> None:
    bar, wanted = quote(opened, volume), lots * LISTING.lot
    limit = LISTING.price(opened * (1 + offset_bps * 1e-4), sign)

    found = bar.within_limit(wanted, sign, limit)

    assert 0 <= found <= min(wanted, bar.available)
    if found:
        assert sign * (bar.price(found, sign) - limit) <= 0
    if found < min(wanted, bar.available):
        assert sign * (bar.price(found + LISTING.lot, sign) - limit) > 0


@given(opens, volumes, st.decimals(5, 10**6, places=2))
def test_within_a_budget_is_the_most_that_it_buys(opened: float, volume: float, budget: Decimal) -> None:
    bar = quote(opened, volume)

    found = bar.within_budget(budget, 1)

    assert found * bar.price(found, 1) <= budget or found == 0
    if found < bar.available:
        more = found + LISTING.lot
        assert more * bar.price(more, 1) > budget


@given(opens, volumes, st.sampled_from([1, -1]))
def test_the_book_is_what_can_be_had(opened: float, volume: float, sign: int) -> None:
    bar = quote(opened, volume)

    levels = bar.levels(sign)

    assert bar.available == sum((quantity for _, quantity in levels), Decimal(0))
    prices = [price for price, _ in levels]
    assert sorted(set(prices), reverse=sign < 0) == prices


@pytest.mark.parametrize(
    ("price", "tick", "lot"),
    [(42_000.0, "0.01", "0.00001"), (2_400.0, "0.01", "0.0001"), (95.0, "0.0001", "0.01"), (0.55, "0.000001", "1"), (0.00001, "0.00000001", "1")],
)
def test_the_grid_follows_the_magnitude_of_the_price(price: float, tick: str, lot: str) -> None:
    listing = list_symbol("ANY/USDT", price)

    assert (Decimal(tick), Decimal(lot), Decimal(5)) == (listing.tick, listing.lot, listing.min_notional)


@given(st.floats(1e-3, 2e5), st.sampled_from([1, -1]))
def test_a_price_rounds_against_the_taker_by_less_than_a_tick(raw: float, sign: int) -> None:
    found = LISTING.price(raw, sign)

    assert 0 == found % LISTING.tick
    assert found == LISTING.tick or -1e-9 <= sign * (found - Decimal(raw)) / LISTING.tick < 1
