"""What one bar gives: closed forms for price, cap and limits, and the grid."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from configs.trading import CostSettings
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


def test_impact_counts_what_was_taken_before() -> None:
    assert quote().price(Decimal(8), 1) == quote(taken="6").price(Decimal(2), 1)


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
