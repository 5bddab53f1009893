"""Rows 16 to 22: cancels that race, lie, come twice or too early, and orders that are recognised late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import ccxt
import pytest

from configs.trading import TradingSettings
from configs.vocabulary import OrderKind, OrderLife, Side
from desk.clock import WallClock
from desk.errors import BookMismatch
from desk.events import Approved, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.execution.venue import Outcome
from desk.security.arming import ArmedLease
from tests.faults.catalogue import POST, Row
from tests.faults.conftest import SYMBOL, Desk, Exchange

pytestmark = pytest.mark.timeout(60)
NUMBERS = count()
QUANTITY = Decimal("0.5")


@pytest.fixture
def venue(desk: Desk) -> Iterator[ExchangeVenue]:
    """Our side of the exchange, without a session."""
    with ArmedLease(desk.folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        yield desk.venue(desk.exchange.fresh_client(), lease)


@pytest.fixture
def resting(desk: Desk) -> Callable[..., Approved]:
    """`resting("0.9")` is an approved purchase that rests at that share of the last price until it is cancelled."""

    def make(share: str = "0.9", quantity: Decimal = QUANTITY) -> Approved:
        now = datetime.fromtimestamp(desk.exchange.client.fetch_time() / 1000, UTC)
        last = Decimal(str(desk.exchange.client.fetch_ticker(SYMBOL)["last"]))
        price = (last * Decimal(share)).quantize(desk.exchange.instruments[SYMBOL].tick)
        identity = order_id(f"{desk.name}-{next(NUMBERS)}", SYMBOL, now, "buy", 1)
        return Approved(Order(identity, SYMBOL, Side.BUY, quantity, now, last, OrderKind.LIMIT, OrderLife.GTC, price))

    return make


def status(exchange: Exchange, order: Approved) -> str:
    """What the exchange's ledger says of an order."""
    (found,) = [each for each in exchange.orders() if each["clientOrderId"] == order.order.order_id]
    return str(found["status"])


@pytest.mark.row(16)
def test_a_cancel_that_loses_the_race_reports_the_fill(desk: Desk, venue: ExchangeVenue, resting: Callable[..., Approved], row: Row) -> None:
    """Filled is a normal result of a cancel: what executed is booked once, and nothing is bought again for it."""
    order = resting("0.9999")
    venue.submit([order])
    desk.exchange.plan(*row.faults)

    with ThreadPoolExecutor(1) as other:
        cancelling = other.submit(venue.cancel, order.order.order_id, SYMBOL)
        while status(desk.exchange, order) != "FILLED":
            desk.exchange.advance()
        answer = cancelling.result()

    assert (Outcome.CONFIRMED, QUANTITY) == (answer.outcome, answer.filled)
    assert [QUANTITY] == [sum(fill.quantity for fill in venue.executions())]
    assert () == venue.executions()


@pytest.mark.row(17)
def test_a_cancel_that_only_seems_acknowledged_is_repeated_until_the_order_is_gone(
    desk: Desk, venue: ExchangeVenue, resting: Callable[..., Approved], row: Row
) -> None:
    order = resting()
    venue.submit([order])
    desk.exchange.plan(*row.faults)

    answer = venue.cancel(order.order.order_id, SYMBOL)

    assert (1, Outcome.CONFIRMED, "CANCELED") == (desk.exchange.struck(), answer.outcome, status(desk.exchange, order))


@pytest.mark.row(18)
def test_a_cancel_sent_twice_by_the_transport_is_still_a_cancel(desk: Desk, venue: ExchangeVenue, resting: Callable[..., Approved], row: Row) -> None:
    """The second copy is answered with "unknown order": proof of nothing. Asked for, the order says how it ended."""
    order = resting()
    venue.submit([order])
    desk.exchange.plan(*row.faults)

    answer = venue.cancel(order.order.order_id, SYMBOL)

    assert (1, Outcome.CONFIRMED, Decimal(0)) == (desk.exchange.struck(), answer.outcome, answer.filled)
    assert "CANCELED" == status(desk.exchange, order)


@pytest.mark.row(19)
def test_a_replacement_that_fails_half_way_leaves_nothing_working(desk: Desk, venue: ExchangeVenue, resting: Callable[..., Approved]) -> None:
    """The exchange's own cancel-replace ends with the old order gone and no new one; ours says so, and never has both."""
    theirs, ours = resting(), resting()
    venue.submit([theirs, ours])
    exchange = desk.exchange

    with suppress(ccxt.BaseError):
        exchange.client.edit_order(venue_id(exchange, theirs), SYMBOL, "limit", "buy", 9, 40_000)
        pytest.fail("the replacement was accepted")
    exchange.plan({"kind": "error", **POST, "before": True, "status": 400, "code": -2010, "msg": "Account has insufficient balance for requested action."})
    answer = venue.replace_resting(ours.order, ours.order, resting().order)

    assert ["CANCELED", "CANCELED"] == [status(exchange, theirs), status(exchange, ours)]
    assert Outcome.REJECTED is answer.outcome
    assert [] == exchange.client.fetch_open_orders(SYMBOL)


def venue_id(exchange: Exchange, order: Approved) -> str:
    """The exchange's own number of an order."""
    return str(exchange.client.fetch_order("", SYMBOL, {"origClientOrderId": order.order.order_id})["id"])


@pytest.mark.row(20)
def test_a_cancel_that_overtakes_its_order_catches_it(desk: Desk, venue: ExchangeVenue, resting: Callable[..., Approved], row: Row) -> None:
    """The exchange sees the cancel first and knows no such order. Not found is not the end: it may still come, and when it comes it is cancelled."""
    order = resting()
    desk.exchange.plan(*row.faults)

    with ThreadPoolExecutor(1) as other, ArmedLease(desk.folder / "second", WallClock().now() + timedelta(minutes=1)) as lease:
        sending = other.submit(venue.submit, [order])
        canceller = desk.venue(desk.exchange.fresh_client(), lease)
        answer = canceller.cancel(order.order.order_id, SYMBOL)
        sending.result()

    assert 1 == desk.exchange.struck()
    assert (Outcome.CONFIRMED, "CANCELED") == (answer.outcome, status(desk.exchange, order))


@pytest.mark.row(21)
def test_a_stop_that_is_missing_when_it_is_to_be_cancelled_stops_nobody(desk: Desk, row: Row) -> None:
    """Somebody cancelled it by hand; every cancel is answered with "unknown order", after a restart too."""
    desk.trading = TradingSettings(protective_stop=0.3)
    desk.trade(1)
    desk.exchange.client.cancel_all_orders(SYMBOL)
    desk.exchange.plan(*row.faults)

    desk.survive(3)

    assert desk.exchange.struck() >= 1
    desk.agrees()


@pytest.mark.row(22)
def test_an_order_that_is_recognised_too_late_is_not_doubled_and_stops_the_desk(desk: Desk, row: Row) -> None:
    """The answer is lost and thirty reads in a row are behind, longer than a request can live. The order was given up; the account tells of it."""
    desk.exchange.plan(*row.faults)
    desk.survive(2)

    with pytest.raises(BookMismatch, match=r"BTC: ours \S+ the venue's 2\."):
        desk.settle()

    assert 1 == len(desk.accepted())
