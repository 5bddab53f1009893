"""Orders that wait, bar by bar, against prices written down by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.trading import CostSettings
from configs.vocabulary import OrderKind, OrderLife, Side, Timeframe
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.execution.resting import touch
from desk.execution.simulated_venue import SimulatedVenue
from desk.instruments import Instrument

T0 = datetime(2024, 1, 1, tzinfo=UTC)
GRID = {"A/USDT": Instrument("A/USDT", "A", "USDT", Decimal("0.01"), Decimal("0.1"), Decimal(5))}
FREE = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0, participation_cap=1)


def bar(opened: float, high: float, low: float, close: float, hour: int = 0, volume: float = 1000.0) -> Bar:
    return Bar("A/USDT", Timeframe.H1, T0 + timedelta(hours=hour), opened, high, low, close, volume)


def waiting(kind: OrderKind, side: Side = Side.SELL, quantity: str = "2", **more: Any) -> Order:
    more = {"life": OrderLife.GTC, **{name: Decimal(str(value)) if name in ("price", "stop_price") else value for name, value in more.items()}}
    return Order(f"tw-{kind}-{side}", "A/USDT", side, Decimal(quantity), T0, Decimal(100), kind, **more)


def executed(order: Order, *bars: Bar, costs: CostSettings = FREE, held: str = "10") -> list[Fill]:
    """What a venue that holds `held` reports of one order, bar after bar."""
    venue = SimulatedVenue(GRID, costs, {"USDT": Decimal(10000), "A": Decimal(held)})
    venue.submit([Approved(order)])
    return [fill for each in bars for fill in venue.fills(BarsClosed(each.closed_at, (each,)))]


@pytest.mark.parametrize(
    ("bars", "price"),
    [
        ([bar(100, 101, 96, 100)], None),  # never reached
        ([bar(100, 101, 95, 100)], "95.00"),  # touched
        ([bar(100, 101, 90, 91)], "95.00"),  # fell through
        ([bar(93, 99, 92, 98)], "93.00"),  # opened beyond: the gap is ours to pay
        ([bar(100, 101, 96, 100), bar(94, 95, 93, 94, 1)], "94.00"),  # overnight
    ],
)
def test_a_stop_to_sell_executes_at_its_price_or_beyond_the_gap_at_the_open(bars: list[Bar], price: str | None) -> None:
    fills = executed(waiting(OrderKind.STOP, stop_price=95, reduce_only=True), *bars)

    assert ([] if price is None else [Decimal(price)]) == [fill.price for fill in fills]


def test_a_stop_to_buy_is_the_mirror_image() -> None:
    order = waiting(OrderKind.STOP, Side.BUY, stop_price=105, reduce_only=True)

    assert [Decimal("105.00")] == [fill.price for fill in executed(order, bar(100, 106, 99, 100), held="-10")]
    assert [Decimal("107.00")] == [fill.price for fill in executed(order, bar(107, 108, 99, 100), held="-10")]


def test_a_stop_pays_spread_and_impact_like_any_order_that_takes() -> None:
    """95 worse by 10 basis points is 94.905, down to 94.90."""
    (fill,) = executed(waiting(OrderKind.STOP, stop_price=95), bar(100, 101, 94, 100), costs=CostSettings(fee_rate=0, half_spread_bps=10, impact_bps=0))

    assert Decimal("94.90") == fill.price


def test_a_stop_that_only_reduces_never_turns_a_position() -> None:
    fills = executed(waiting(OrderKind.STOP, stop_price=95, reduce_only=True), bar(100, 101, 94, 100), held="1.5")

    assert [Decimal("1.5")] == [fill.quantity for fill in fills]
    assert [] == executed(waiting(OrderKind.STOP, stop_price=95, reduce_only=True), bar(100, 101, 94, 100), held="0")


def test_what_a_thin_bar_leaves_of_a_stop_goes_at_the_next_open() -> None:
    fills = executed(waiting(OrderKind.STOP, stop_price=95), bar(100, 101, 94, 94, volume=0.5), bar(92, 93, 91, 92, 1))

    assert [(Decimal("0.5"), Decimal("95.00")), (Decimal("1.5"), Decimal("92.00"))] == [(fill.quantity, fill.price) for fill in fills]
    assert 2 == len({fill.trade_id for fill in fills})


def test_a_limit_needs_the_market_to_trade_through_it() -> None:
    order = waiting(OrderKind.LIMIT, Side.BUY, price=95)

    assert [] == executed(order, bar(100, 101, 95, 100))
    assert [Decimal("95.00")] == [fill.price for fill in executed(order, bar(100, 101, 94.9, 100))]
    assert [Decimal("93.00")] == [fill.price for fill in executed(order, bar(93, 96, 92, 95))]
    assert [Decimal("95.00")] == [fill.price for fill in executed(order, bar(100, 101, 99, 100), bar(93, 94, 92, 93, 1))]


def test_a_price_of_millions_of_ticks_is_not_rounded_anew() -> None:
    """As floats 615076.58 / .01 is 61507657.99999999: rounded down for a seller it would be sold a tick below its limit."""
    order = waiting(OrderKind.LIMIT, Side.SELL, price="615076.58")

    assert [Decimal("615076.58")] == [fill.price for fill in executed(order, bar(615000, 615076, 615000, 615000), bar(615000, 615100, 614000, 614500, 1))]


def test_a_post_only_order_that_would_take_is_gone_and_one_that_rested_fills_at_its_price() -> None:
    order = waiting(OrderKind.POST_ONLY, Side.BUY, price=95)

    assert [] == executed(order, bar(94, 96, 93, 94), bar(94, 96, 93, 94, 1))
    assert [Decimal("95.00")] == [fill.price for fill in executed(order, bar(100, 101, 99, 100), bar(93, 94, 92, 93, 1))]


def test_a_stop_limit_beyond_its_limit_rests_instead_of_filling() -> None:
    order = waiting(OrderKind.STOP_LIMIT, stop_price=95, price=94)

    assert [Decimal("95.00")] == [fill.price for fill in executed(order, bar(100, 101, 94.5, 95))]
    assert [] == executed(order, bar(92, 93, 91, 92))
    assert [Decimal("94.00")] == [fill.price for fill in executed(order, bar(92, 93, 91, 92), bar(92, 96, 91, 95, 1))]


def test_a_take_profit_executes_where_the_market_is_good_enough() -> None:
    order = waiting(OrderKind.TAKE_PROFIT, stop_price=110)

    assert [] == executed(order, bar(100, 109, 99, 100))
    assert [Decimal("110.00")] == [fill.price for fill in executed(order, bar(100, 111, 99, 100))]
    assert [Decimal("112.00")] == [fill.price for fill in executed(order, bar(112, 113, 99, 100))]


def test_all_or_nothing_takes_nothing_of_a_thin_bar() -> None:
    assert [] == executed(waiting(OrderKind.LIMIT, Side.BUY, price=120, life=OrderLife.FOK), bar(100, 101, 99, 100, volume=1.0))
    assert [Decimal(1)] == [
        fill.quantity for fill in executed(waiting(OrderKind.LIMIT, Side.BUY, price=120, life=OrderLife.IOC), bar(100, 101, 99, 100, volume=1.0))
    ]


def test_a_resting_buy_spends_no_more_than_there_is() -> None:
    fills = executed(waiting(OrderKind.LIMIT, Side.BUY, quantity="1000", price=95), bar(100, 101, 90, 95, volume=1e6))

    assert [Decimal("105.2")] == [fill.quantity for fill in fills]


PRICES = st.floats(50, 150)


@given(opened=PRICES, low=PRICES, high=PRICES, level=PRICES, side=st.sampled_from(Side))
def test_no_touch_lies_outside_the_bar_and_no_stop_fills_better_than_it_says(opened: float, low: float, high: float, level: float, side: Side) -> None:
    seen = bar(opened, max(opened, low, high), min(opened, low, high), opened)
    stop = touch(waiting(OrderKind.STOP, side, stop_price=level), seen, rested=False)
    limit = touch(waiting(OrderKind.LIMIT, side, price=level), seen, rested=False)

    assert all(found is None or seen.low <= found.price <= seen.high for found in (stop, limit))
    assert stop is None or side.sign * (stop.price - level) >= 0
    assert limit is None or side.sign * (level - limit.price) >= 0
