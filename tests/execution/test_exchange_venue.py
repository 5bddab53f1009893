"""Orders on an exchange when the line, the clock or the permission fails."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from configs.vocabulary import Side, Timeframe
from desk.clock import WallClock
from desk.errors import PreflightFailed
from desk.events import Approved, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.execution.outcome import proves_refusal
from desk.execution.readiness import preflight, trading_scope
from desk.execution.venue import Outcome
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease

LEGS = itertools.count()


def answer(code: int, text: str) -> str:
    """What an exchange that speaks Binance's dialect says when it refuses."""
    return json.dumps({"code": code, "msg": text})


@pytest.mark.parametrize(
    ("error", "response"),
    [
        (ccxt.InvalidOrder, answer(-1013, "Filter failure: LOT_SIZE")),
        (ccxt.BadRequest, answer(-1013, "Filter failure: NOTIONAL")),
        (ccxt.InsufficientFunds, answer(-2010, "Account has insufficient balance for requested action.")),
        (ccxt.OrderImmediatelyFillable, answer(-2010, "Order would immediately match and take.")),
        (ccxt.BadSymbol, answer(-1121, "Invalid symbol.")),
        (ccxt.MarketClosed, answer(-1013, "Market is closed.")),
        (ccxt.InvalidNonce, answer(-1021, "Timestamp for this request is outside of the recvWindow.")),
        (ccxt.AuthenticationError, answer(-2015, "Invalid API-key, IP, or permissions for action.")),
        (ccxt.PermissionDenied, answer(-2015, "Invalid API-key, IP, or permissions for action.")),
        (ccxt.DDoSProtection, answer(-1003, "Too many requests.")),
    ],
)
def test_the_allow_list_proves_a_refusal(error: type[Exception], response: str) -> None:
    assert proves_refusal(error("binance"), response)


@pytest.mark.parametrize(
    ("error", "response"),
    [
        (ccxt.InvalidOrder, answer(-2010, "Duplicate order sent.")),  # there is one
        (ccxt.InvalidOrder, None),  # ccxt's own opinion; the exchange said nothing
        (ccxt.InsufficientFunds, '{"code":-2010,'),  # a truncated answer
        (ccxt.RequestTimeout, None),
        (ccxt.NetworkError, None),
        (ccxt.ExchangeNotAvailable, answer(-1016, "This service is no longer available.")),
        (ccxt.OperationFailed, answer(-1008, "Server is currently overloaded")),
        (ccxt.RequestTimeout, answer(-1007, "Timeout waiting for response from backend server. Send status unknown")),
        (ccxt.ExchangeError, answer(-9999, "something new")),
        (ccxt.OrderNotFound, answer(-2013, "Order does not exist.")),
        # No InvalidOrder to ccxt, and no code that is documented to prove anything: a reducing order that another one is in the way of is asked for.
        (ccxt.OperationRejected, answer(-4118, "ReduceOnly Order Failed. Please check your existing position and open orders.")),
        (ccxt.BadResponse, "<html>"),
        (ccxt.InvalidOrder, "[]"),
    ],
)
def test_everything_else_proves_nothing(error: type[Exception], response: str | None) -> None:
    assert not proves_refusal(error("binance"), response)


class Line:
    """The line to an exchange, on which the answer to an order gets lost after the exchange executed it, or the order before."""

    def __init__(self, client: Any, fault: Callable[[Callable[[], Any]], Any]) -> None:
        self._client = client
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_order(self, *arguments: Any) -> Any:
        return self._fault(lambda: self._client.create_order(*arguments))


def answer_lost(send: Callable[[], Any]) -> Any:
    send()
    raise ccxt.NetworkError("binance connection reset after the order was sent")


def answer_empty(send: Callable[[], Any]) -> Any:
    send()
    return {"id": None, "status": None}


def order_lost(send: Callable[[], Any]) -> Any:
    raise ccxt.RequestTimeout("binance POST timed out")


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[ArmedLease]:
    with ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as armed:
        yield armed


@pytest.fixture
def instruments(practice: Any) -> dict[str, Instrument]:
    known = ExchangeSource(practice.client).instruments()
    return {symbol: known[symbol] for symbol in ("BTC/USDT", "ETH/USDT")}


def venue(client: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> ExchangeVenue:
    return ExchangeVenue(client, instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)


def order(practice: Any, instruments: dict[str, Instrument], lots: int = 50) -> Approved:
    now = practice.now()
    return Approved(Order(order_id("faults", "BTC/USDT", now, str(next(LEGS)), 1), "BTC/USDT", Side.BUY, lots * instruments["BTC/USDT"].lot, now, Decimal(1)))


def accepted(practice: Any, approved: Approved) -> int:
    """How many orders of this id the exchange ever accepted."""
    return str(practice.orders()).count(approved.order.order_id)


@pytest.mark.parametrize("fault", [answer_lost, answer_empty])
def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(
    practice: Any, instruments: dict[str, Instrument], lease: ArmedLease, fault: Callable[[Callable[[], Any]], Any]
) -> None:
    market, approved = venue(Line(practice.client, fault), instruments, lease), order(practice, instruments)

    (doubtful,) = market.submit([approved])
    settled = market.resolve(approved.order.order_id, "BTC/USDT")
    fills = market.executions()

    assert (doubtful.outcome, settled.outcome) == (Outcome.UNRESOLVED, Outcome.CONFIRMED)
    assert sum(fill.quantity for fill in fills) == approved.order.quantity
    assert accepted(practice, approved) == 1


def test_an_order_that_was_lost_is_proven_absent_only_when_it_can_no_longer_arrive(
    practice: Any, instruments: dict[str, Instrument], lease: ArmedLease
) -> None:
    market, approved, clock = venue(Line(practice.client, order_lost), instruments, lease), order(practice, instruments), WallClock()

    (doubtful,) = market.submit([approved])
    began = clock.seconds()
    settled = market.resolve(approved.order.order_id, "BTC/USDT")

    assert (doubtful.outcome, settled.outcome) == (Outcome.UNRESOLVED, Outcome.REJECTED)
    assert clock.seconds() - began >= practice.client.options["recvWindow"] / 1000
    assert accepted(practice, approved) == 0


def test_a_restarted_venue_finds_what_the_first_one_sent(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    approved = order(practice, instruments)
    venue(practice.client, instruments, lease).submit([approved])

    second = venue(practice.client, instruments, lease)
    found = second.resolve(approved.order.order_id, "BTC/USDT")
    fills = second.executions()

    assert found.outcome is Outcome.CONFIRMED
    assert {fill.order_id for fill in fills} == {approved.order.order_id}


def test_an_order_whose_bar_is_over_is_not_sent(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    approved = order(practice, instruments)
    practice.advance()

    (refused,) = venue(practice.client, instruments, lease).submit([approved])

    assert refused.outcome is Outcome.REJECTED
    assert "its bar was over" in refused.detail
    assert accepted(practice, approved) == 0


def test_without_a_lease_nothing_is_sent_but_everything_can_be_asked(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    market, approved = venue(practice.client, instruments, lease), order(practice, instruments)
    lease.release()

    (refused,) = market.submit([approved])
    market.cancel_open(approved.order.decided_at)

    assert refused.outcome is Outcome.REJECTED
    assert "armed lease" in refused.detail
    assert market.account().balances["USDT"] > 0
    assert accepted(practice, approved) == 0


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "0", "-1"])
def test_a_quantity_that_is_no_amount_never_reaches_the_wire(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease, quantity: str) -> None:
    now = practice.now()
    broken = Approved(Order(order_id("faults", "BTC/USDT", now, str(next(LEGS)), 1), "BTC/USDT", Side.BUY, Decimal(quantity), now, Decimal(1)))

    (refused,) = venue(practice.client, instruments, lease).submit([broken])

    assert (refused.outcome, "positive number" in refused.detail) == (Outcome.REJECTED, True)


def test_an_order_the_account_cannot_pay_is_rejected_at_once(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    """Of this answer ccxt's error keeps only the message; the venue answered all the same, so nobody waits out the receive window."""
    balances = practice.client.fetch_balance()["free"]
    lots = int(3 * balances["USDT"] / practice.client.fetch_ticker("BTC/USDT")["last"] / float(instruments["BTC/USDT"].lot))
    market, approved, clock = venue(practice.client, instruments, lease), order(practice, instruments, lots), WallClock()

    began = clock.seconds()
    (refused,) = market.submit([approved])

    assert (Outcome.REJECTED, "InsufficientFunds: binance Account has insufficient balance for requested action.") == (refused.outcome, refused.detail)
    assert clock.seconds() - began < practice.client.options["recvWindow"] / 1000
    assert () == market.executions()
    assert 0 == accepted(practice, approved)


def test_an_order_while_its_market_is_closed_is_rejected_at_once(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    """The exchange says so with a filter's code; the fault makes it do so at a chosen moment."""
    fault = {"kind": "error", "method": "POST", "path": "/api/v3/order", "status": 400, "code": -1013, "msg": "Market is closed.", "before": True}
    practice.plan(fault)
    approved = order(practice, instruments)

    (refused,) = venue(practice.client, instruments, lease).submit([approved])

    assert (Outcome.REJECTED, "MarketClosed: binance Market is closed.") == (refused.outcome, refused.detail)
    assert 0 == accepted(practice, approved)


def test_an_order_that_exists_already_is_no_refusal(practice: Any, instruments: dict[str, Instrument], lease: ArmedLease) -> None:
    """An exchange that knows the id says "Duplicate order sent": the order is looked up, found, and not sent again."""
    fault = {"kind": "error", "method": "POST", "path": "/api/v3/order", "status": 400, "code": -2010, "msg": "Duplicate order sent."}
    practice.plan(fault)
    market, approved = venue(practice.client, instruments, lease), order(practice, instruments)

    (doubtful,) = market.submit([approved])
    settled = market.resolve(approved.order.order_id, "BTC/USDT")

    assert (Outcome.UNRESOLVED, Outcome.CONFIRMED) == (doubtful.outcome, settled.outcome)
    assert 1 == accepted(practice, approved)
    market.executions()


def test_the_practice_exchange_passes_preflight_and_its_key_has_the_right_scope(practice: Any, instruments: dict[str, Instrument]) -> None:
    assert preflight(practice.client, instruments).symbols == ("BTC/USDT", "ETH/USDT")
    assert "enableSpotAndMarginTrading" in trading_scope(practice.client).permissions


def test_preflight_names_a_symbol_nobody_lists(practice: Any, instruments: dict[str, Instrument]) -> None:
    doge = Instrument("DOGE/USDT", "DOGE", "USDT", Decimal("0.01"), Decimal(1), Decimal(5))

    with pytest.raises(PreflightFailed, match="DOGE/USDT"):
        preflight(practice.client, {**instruments, "DOGE/USDT": doge})


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "truncate"},
        {"kind": "http", "status": 200},
        {"kind": "empty", "status": 200},
        {"kind": "http", "status": 502},
        {"kind": "http", "status": 504},
        {"kind": "error", "status": 503, "code": -1008, "msg": "Server is currently overloaded with other requests."},
        {"kind": "error", "status": 408, "code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown."},
        {"kind": "error", "status": 500, "code": -1000, "msg": "An unknown error occurred while processing the request."},
        {"kind": "error", "status": 400, "code": -2010, "msg": "Duplicate order sent."},
    ],
    ids=lambda fault: "-".join(str(value) for name, value in fault.items() if name != "msg"),
)
def test_whatever_becomes_of_the_answer_the_order_exists_once_and_its_executions_are_booked(
    practice: Any, instruments: dict[str, Instrument], lease: ArmedLease, fault: dict[str, Any]
) -> None:
    """The exchange did what it was asked and the answer was lost, cut, false or an excuse."""
    market, approved = venue(practice.client, instruments, lease), order(practice, instruments)
    practice.plan({"method": "POST", "path": "/api/v3/order", **fault})

    (doubtful,) = market.submit([approved])
    settled = market.resolve(approved.order.order_id, "BTC/USDT")
    again = market.submit([approved])

    assert (Outcome.UNRESOLVED, Outcome.CONFIRMED, Outcome.CONFIRMED) == (doubtful.outcome, settled.outcome, again[0].outcome)
    assert approved.order.quantity == sum(fill.quantity for fill in market.executions())
    assert 1 == accepted(practice, approved)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "code": -1003, "msg": "Too many requests; current limit is 6000 request weight per 1 MINUTE."},
        {"status": 418, "code": -1003, "msg": "Way too much request weight used; IP banned until 1."},
        {"status": 400, "code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."},
        {"status": 400, "code": -1013, "msg": "Filter failure: NOTIONAL"},
        {"status": 401, "code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    ],
    ids=lambda fault: f"{fault['status']}{fault['code']}",
)
def test_what_the_exchange_proves_to_have_refused_is_not_asked_about(
    practice: Any, instruments: dict[str, Instrument], lease: ArmedLease, fault: dict[str, Any]
) -> None:
    market, approved = venue(practice.client, instruments, lease), order(practice, instruments)
    practice.plan({"kind": "error", "method": "POST", "path": "/api/v3/order", "before": True, **fault})

    (refused,) = market.submit([approved])

    assert Outcome.REJECTED is refused.outcome
    assert () == market.executions()
    assert 0 == accepted(practice, approved)
