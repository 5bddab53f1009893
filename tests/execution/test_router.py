"""Routes: nothing is lost or added in slicing, an unknown book is never guessed, and `auto` takes what costs least."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.trading import ExecutionSettings
from configs.vocabulary import Route, Side
from desk.events import Order
from desk.execution.liquidity import BookView
from desk.execution.router import capped, plan
from desk.instruments import Instrument

BTC = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))
DEEP = BookView.of([[99.99, 1e6]], [[100.01, 1e6]], 0.0)
STEEP = BookView.of([[100 - 0.1 * i, 10.0] for i in range(1, 60)], [[100 + 0.1 * i, 10.0] for i in range(1, 60)], 0.0)
NOTHING = BookView.of([], [], 0.0)


def order(quantity: str, side: Side = Side.BUY) -> Order:
    return Order("tw-1", "BTC/USDT", side, Decimal(quantity), datetime(2024, 1, 1, tzinfo=UTC), Decimal(100))


def rules(**settings: object) -> ExecutionSettings:
    return ExecutionSettings.model_validate({"route_above": 1000.0, **settings})


def test_by_default_every_order_goes_out_whole() -> None:
    chosen = plan(order("500"), BTC, STEEP, ExecutionSettings())

    assert (Route.MARKET, (Decimal(500),)) == (chosen.route, tuple(each.quantity for each in chosen.slices))


@pytest.mark.parametrize("route", [Route.TWAP, Route.VWAP, Route.POV, Route.ICEBERG, Route.AUTO])
def test_a_book_that_says_nothing_slices_nothing(route: Route) -> None:
    assert 1 == len(plan(order("500"), BTC, NOTHING, rules(route=route)).slices)


def test_a_small_order_is_not_worth_slicing() -> None:
    assert 1 == len(plan(order("9.999"), BTC, STEEP, rules(route=Route.TWAP)).slices)


@given(
    lots=st.integers(1, 10**7),
    slices=st.integers(2, 50),
    route=st.sampled_from([Route.TWAP, Route.VWAP, Route.POV, Route.ICEBERG, Route.AUTO]),
    volumes=st.lists(st.floats(0, 1e6), max_size=60),
)
def test_slices_add_up_lie_on_the_grid_and_are_all_worth_sending(lots: int, slices: int, route: Route, volumes: list[float]) -> None:
    whole = order(str(lots * BTC.lot))

    chosen = plan(whole, BTC, DEEP, rules(route=route, slices=slices), volumes)

    parts = [each.quantity for each in chosen.slices]
    assert whole.quantity == sum(parts)
    assert len(parts) <= slices
    assert all(part > 0 and part % BTC.lot == 0 for part in parts)
    assert len(parts) == 1 or all(part * 100 >= BTC.min_notional for part in parts)


def test_slicing_wins_where_a_large_order_would_walk_the_book() -> None:
    """Taking 200 of levels of 10 walks 20 levels of .1; a quarter of it walks 5."""
    chosen = plan(order("200"), BTC, STEEP, rules(route=Route.AUTO, slices=4, passive_share=0.0))

    assert Route.TWAP is chosen.route
    assert 10 + 30 == pytest.approx(chosen.cost_bps, abs=0.5)


Levels = list[list[float]]


def walked(levels: Levels, quantity: float) -> float:
    """What a quantity pays (quote) that takes a book's levels one after the other."""
    paid = 0.0
    for price, size in levels:
        taken = min(size, quantity)
        paid, quantity = paid + taken * price, quantity - taken
    assert quantity < 1e-9
    return paid


def tape(seed: int, books: int) -> list[dict[Side, Levels]]:
    """What one order after the other meets: a middle that wanders, and as much behind each level as the seed says, the same on both sides."""
    random = np.random.default_rng(seed)
    middles = 100 * np.exp(np.cumsum(2e-4 * random.standard_normal(books)))
    sizes = random.lognormal(math.log(10), 0.5, (books, 400))
    steps = 1e-4 + 1e-3 * np.arange(400)
    return [
        {
            side: [[float(middle * (1 + sign * step)), float(size)] for step, size in zip(steps, each, strict=True)]
            for side, sign in ((Side.BUY, 1), (Side.SELL, -1))
        }
        for middle, each in zip(middles, sizes, strict=True)
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("route", [Route.TWAP, Route.VWAP, Route.AUTO])
def test_slices_fall_short_by_less_than_one_order_on_the_same_tape(seed: int, route: Route) -> None:
    """Implementation shortfall (Perold 1988) against the middle at the decision. What the middle does meanwhile costs a buyer what it saves a seller."""
    books = tape(seed, 8)
    seen = BookView.of(books[0][Side.SELL], books[0][Side.BUY], 0.0)
    whole, sliced = 0.0, 0.0

    for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
        chosen = plan(order("500", side), BTC, seen, rules(route=route, slices=8), [float(volume) for volume in range(1, 9)])
        parts = [float(each.quantity) for each in chosen.slices]
        sliced += sign * sum(walked(book[side], part) for book, part in zip(books, parts, strict=True))
        # one order at each moment of the tape, in the proportion of the slices: no luck of the moment in the comparison
        whole += sign * sum(part / 500 * walked(book[side], 500) for book, part in zip(books, parts, strict=True))

    assert 500 == pytest.approx(sum(parts))
    assert 0 < sliced < 0.5 * whole


def test_where_slicing_saves_nothing_the_order_goes_out_whole() -> None:
    assert Route.MARKET is plan(order("200"), BTC, DEEP, rules(route=Route.AUTO, passive_share=0.0)).route


def test_resting_wins_where_a_maker_pays_less() -> None:
    chosen = plan(order("200"), BTC, DEEP, rules(route=Route.AUTO, maker_fee=0.0, passive_share=1.0))

    assert Route.ICEBERG is chosen.route
    assert all(each.passive for each in chosen.slices)
    assert chosen.cost_bps == pytest.approx(-1.0)


def test_vwap_follows_the_volume_of_the_minutes_behind() -> None:
    chosen = plan(order("100"), BTC, DEEP, rules(route=Route.VWAP, slices=4), [9.0, 1.0, 2.0, 3.0, 4.0])

    assert [Decimal(10), Decimal(20), Decimal(30), Decimal(40)] == [each.quantity for each in chosen.slices]


def test_an_order_takes_no_more_than_its_share_of_the_visible_depth() -> None:
    """Within 51 basis points of 100 stand five levels of 10; a tenth of that is 5."""
    half = rules(depth_share=0.1, depth_bps=51.0)

    assert Decimal(5) == capped(Decimal(200), order("200"), BTC, STEEP, half)
    assert Decimal(3) == capped(Decimal(3), order("3"), BTC, STEEP, half)
    assert Decimal(200) == capped(Decimal(200), order("200"), BTC, NOTHING, half)
    assert Decimal(200) == capped(Decimal(200), order("200"), BTC, STEEP, rules())


def test_what_the_book_cannot_fill_has_no_known_cost() -> None:
    assert math.isnan(plan(order("5000"), BTC, STEEP, rules()).cost_bps)
