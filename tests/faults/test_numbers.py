"""Rows 23 to 30: parts of orders, dust, fees in kind, and numbers that are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from configs.trading import TradingSettings
from configs.vocabulary import OrderKind, OrderLife, Side
from desk.clock import WallClock
from desk.events import Approved, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.execution.protection import GUARD
from desk.execution.venue import TOO_SMALL, Outcome
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease
from tests.faults.catalogue import POST, Row
from tests.faults.conftest import Desk
from tests.faults.stage import SYMBOL, Silent, Stage, bought, sold

pytestmark = pytest.mark.timeout(60)
NUMBERS = count()
LEAST = 5  # notional
# Delays nothing and counts the orders that are asked for.
COUNTER = {"kind": "delay", **POST, "before": True, "seconds": 0.0, "times": 0}
NO_NUMBERS = (Decimal("NaN"), None, Decimal("Infinity"), Decimal(0), Decimal(-1), math.nan)


@pytest.fixture
def make_order(staged: Desk) -> Callable[..., Approved]:
    """`make_order(Side.BUY, "0.1", kind=...)`: an approved order of the forming bar."""

    def make(side: Side, quantity: Any, **more: Any) -> Approved:
        now = datetime.fromtimestamp(staged.exchange.client.fetch_time() / 1000, UTC)
        identity = order_id(f"{staged.name}-{next(NUMBERS)}", SYMBOL, now, side.value, 1)
        return Approved(Order(identity, SYMBOL, side, Decimal(quantity), now, Decimal(40_000), **more))

    return make


def asked(desk: Desk) -> int:
    """How many orders came to the exchange's door since `COUNTER` was planned."""
    return max(each["seen"] for each in desk.exchange.admin("/faults"))


@pytest.mark.row(23)
def test_what_a_partial_fill_leaves_below_the_least_notional_is_ended_and_not_sent_again(
    stage: Stage, staged: Desk, venue: ExchangeVenue, make_order: Callable[..., Approved]
) -> None:
    """The dip fills a tenth of its volume, all but ten lots: worth four, where five is the least. They are given up; what was bought is booked once."""
    stage.bring("dip")
    wanted = make_order(Side.BUY, "0.0501", kind=OrderKind.LIMIT, life=OrderLife.GTC, price=Decimal(39_500))
    venue.submit([wanted])
    stage.exchange.advance()
    stage.exchange.plan(COUNTER)

    answer = venue.replace_resting(wanted.order, wanted.order, make_order(Side.BUY, "0.0501").order)

    (order,) = staged.accepted()
    assert ("CANCELED", Decimal("0.05")) == (order["status"], Decimal(order["executedQty"]))
    assert (Outcome.REJECTED, "0.05 of 0.0501 was executed before") == (answer.outcome, answer.detail.replace("0.05000000", "0.05"))
    assert [Decimal("0.05")] == [fill.quantity for fill in venue.executions()]
    assert (0, ()) == (asked(staged), venue.executions())


@pytest.mark.row(24)
def test_a_tiny_partial_fill_that_no_stop_can_protect_is_kept_as_dust_and_named(stage: Stage, staged: Desk) -> None:
    """Ten lots are had of a position of thousands. No stop may be that small, nor may a sale: both are said, nothing is tried again and again."""
    staged.trading = TradingSettings(protective_stop=0.3)
    stage.bring("before thin")
    stage.exchange.plan(COUNTER)

    staged.trade(3)

    (entry,) = staged.accepted()[:1]
    assert ("EXPIRED", Decimal("0.0001")) == (entry["status"], Decimal(entry["executedQty"]))
    assert any(reason.startswith(TOO_SMALL) for reason in staged.refusals())
    assert [GUARD] == [refused.guard for refused in staged.journalled()[1].refused]
    assert len(staged.accepted()) == asked(staged)
    staged.agrees()


@pytest.mark.row(25)
def test_a_stop_whose_successor_would_be_too_small_stays_and_protects(stage: Stage, staged: Desk) -> None:
    """What was held before the session has no entry price: its stop is decided anew from every close. The market falls by a quarter, and a stop
    from there would be worth less than the least notional. The one that rests is legal, stays, and closes the position further down.
    """
    staged.policy, staged.trading = Silent(), TradingSettings(protective_stop=0.3)
    stage.exchange.client.create_order(SYMBOL, "market", "buy", "0.0002")
    staged.seen = len(stage.exchange.orders())
    stage.bring("before fall")

    staged.trade(1)
    (stop,) = staged.accepted()
    assert ("NEW", Decimal(28_000)) == (stop["status"], Decimal(stop["stopPrice"]))
    assert Decimal(stop["origQty"]) * 28_000 >= LEAST > Decimal(stop["origQty"]) * 21_000
    staged.trade(1)
    (fallen,) = staged.accepted()
    staged.trade(1)

    (closed,) = staged.accepted()
    assert ("NEW", "FILLED") == (fallen["status"], closed["status"])
    assert any(GUARD == refused.guard for step in staged.journalled() for refused in step.refused)
    staged.agrees()


@pytest.mark.row(26)
def test_no_more_is_sold_than_the_fee_left_of_what_was_bought(desk: Desk) -> None:
    """The fee of a purchase is taken in kind. A sale of what was ordered would be refused; what is left is less than a lot."""
    lot = desk.exchange.instruments[SYMBOL].lot

    desk.survive(4)

    orders = desk.accepted()
    assert ["BUY", "SELL", "BUY", "SELL"] == [each["side"] for each in orders]
    assert ["FILLED"] * 4 == [each["status"] for each in orders]
    assert [] == desk.refusals()
    assert [True, True] == [abs(bought(orders[:end]) - sold(orders[:end])) < lot for end in (2, 4)]
    desk.agrees()


@pytest.mark.row(27)
@pytest.mark.parametrize("kind", [OrderKind.LIMIT, OrderKind.POST_ONLY, OrderKind.STOP_LIMIT, OrderKind.STOP, OrderKind.TAKE_PROFIT])
def test_a_price_that_is_no_number_never_becomes_an_order(staged: Desk, venue: ExchangeVenue, make_order: Callable[..., Approved], kind: OrderKind) -> None:
    """Neither as it is nor, with the price left out, as an order that takes the market."""
    staged.exchange.plan(COUNTER)
    prices: dict[OrderKind, tuple[str, ...]] = {
        OrderKind.STOP_LIMIT: ("price", "stop_price"),
        OrderKind.STOP: ("stop_price",),
        OrderKind.TAKE_PROFIT: ("stop_price",),
    }
    sound = make_order(Side.BUY, "0.1", kind=kind, life=OrderLife.GTC, price=Decimal(39_000), stop_price=Decimal(41_000)).order
    broken = [
        replace(sound, order_id=f"{sound.order_id[:-3]}{next(NUMBERS):03}", **{name: number}) for name in prices.get(kind, ("price",)) for number in NO_NUMBERS
    ]

    answers = venue.submit([Approved(order) for order in broken])

    assert [Outcome.REJECTED] * len(broken) == [answer.outcome for answer in answers]
    assert all("is not a positive number" in answer.detail for answer in answers)
    assert (0, []) == (asked(staged), staged.accepted())


@pytest.mark.row(28)
def test_an_order_without_price_and_average_is_followed_to_its_fill(
    stage: Stage, staged: Desk, venue: ExchangeVenue, make_order: Callable[..., Approved]
) -> None:
    """A stop that sleeps has neither: who finds it after a restart takes it for what it is, and books the price of its trade when there is one."""
    stage.bring("before fall")
    venue.submit([make_order(Side.BUY, "0.01")])
    stop = make_order(Side.SELL, "0.009", kind=OrderKind.STOP, life=OrderLife.GTC, stop_price=Decimal(35_000), reduce_only=True)
    venue.submit([stop])
    venue.executions()
    known = staged.exchange.client.fetch_order("", SYMBOL, {"origClientOrderId": stop.order.order_id})

    with ArmedLease(staged.folder / "second", WallClock().now() + timedelta(minutes=1)) as lease:
        restarted = staged.venue(staged.exchange.fresh_client(), lease)
        found = restarted.resolve(stop.order.order_id, SYMBOL)
        asleep = restarted.executions()
        stage.bring("low")
        (fill,) = restarted.executions()

    assert (None, None) == (known["price"], known["average"])
    assert (Outcome.CONFIRMED, ()) == (found.outcome, asleep)
    assert (Decimal("0.009"), True) == (fill.quantity, Decimal(34_000) < fill.price <= Decimal(35_000))


@pytest.mark.row(28)
def test_answers_without_numbers_break_no_accounting(staged: Desk, row: Row) -> None:
    """The answer to an order is lost, and where the order should be there is a page."""
    staged.exchange.plan(*row.faults)

    staged.survive(3)

    assert len(row.faults) == staged.exchange.struck()
    staged.agrees()


@pytest.mark.row(29)
def test_an_amount_that_is_no_number_is_refused_before_it_reaches_a_wire(staged: Desk, venue: ExchangeVenue, make_order: Callable[..., Approved]) -> None:
    """With an answer like any other, not with an error from the depths of a library; the sound order after them is sent."""
    staged.exchange.plan(COUNTER)
    sound = make_order(Side.BUY, "0.1")
    broken = [replace(sound.order, order_id=make_order(Side.BUY, "0.1").order.order_id, quantity=number) for number in NO_NUMBERS]

    answers = venue.submit([*map(Approved, broken), sound])

    assert [Outcome.REJECTED] * len(broken) + [Outcome.CONFIRMED] == [answer.outcome for answer in answers]
    assert all("is not a positive number" in answer.detail for answer in answers[:-1])
    assert (1, [sound.order.order_id]) == (asked(staged), [each["clientOrderId"] for each in staged.accepted()])


@pytest.mark.row(30)
@pytest.mark.parametrize("least", [math.nan, None], ids=["not a number", "nothing"])
def test_a_market_without_a_least_notional_is_traded_and_too_little_is_the_exchange_s_to_refuse(stage: Stage, staged: Desk, least: float | None) -> None:
    """Ten lots can be had and are worth less than the exchange takes, which our side cannot know: its refusal is written down, and trading goes on."""
    client = staged.exchange.cold_client()
    client.load_markets()
    client.markets[SYMBOL]["limits"]["cost"]["min"] = least
    instruments = {SYMBOL: ExchangeSource(client).instruments()[SYMBOL]}
    staged.exchange = replace(staged.exchange)
    staged.exchange.instruments = instruments
    stage.bring("before thin")

    staged.survive(6)

    assert Decimal(0) == instruments[SYMBOL].min_notional
    assert any("NOTIONAL" in reason for reason in staged.refusals())
    assert {"BUY", "SELL"} == {each["side"] for each in staged.accepted()}
    staged.agrees()
