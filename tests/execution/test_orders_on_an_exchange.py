"""Stops, slices and cancellations on a practice exchange, where the exchange's own record is the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from configs.trading import ExecutionSettings
from configs.vocabulary import OrderKind, OrderLife, Route, Side, Timeframe
from desk.clock import WallClock
from desk.errors import PreflightFailed
from desk.events import Approved, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id, slice_id
from desk.execution.venue import TOO_SMALL, Outcome
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease

LEGS = itertools.count()
BTC = "BTC/USDT"


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[ArmedLease]:
    with ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as armed:
        yield armed


@pytest.fixture
def make_venue(practice: Any, lease: ArmedLease) -> Callable[..., ExchangeVenue]:
    """`make_venue(client=None, **execution settings)`."""

    def make(client: Any = None, **settings: Any) -> ExchangeVenue:
        rules = ExecutionSettings.model_validate({"slice_seconds": 0.0, "protect_within_s": 1.0, **settings})
        return ExchangeVenue(client or practice.client, listed(practice), clock=WallClock(), lease=lease, bar=Timeframe.H1.delta, rules=rules)

    return make


def listed(practice: Any) -> dict[str, Instrument]:
    return {BTC: ExchangeSource(practice.client).instruments()[BTC]}


def order(practice: Any, side: Side, lots: int, **more: Any) -> Approved:
    now, last = practice.now(), Decimal(str(practice.client.fetch_ticker(BTC)["last"]))
    identity = order_id("exchange", BTC, now, str(next(LEGS)), 1)
    return Approved(Order(identity, BTC, side, lots * listed(practice)[BTC].lot, now, last, **more))


def stop(practice: Any, lots: int, factor: str = "0.5") -> Approved:
    price = Decimal(str(practice.client.fetch_ticker(BTC)["last"])) * Decimal(factor) // Decimal("0.01") * Decimal("0.01")
    return order(practice, Side.SELL, lots, kind=OrderKind.STOP, life=OrderLife.GTC, stop_price=price, reduce_only=True)


def sold_out(practice: Any, venue: ExchangeVenue) -> None:
    """Sell whatever is held, so that a test begins with nothing."""
    venue.cancel_open(practice.now())
    held = Decimal(str(practice.client.fetch_balance()["free"].get("BTC", 0)))
    lots = int(held / listed(practice)[BTC].lot)
    if lots:
        venue.submit([order(practice, Side.SELL, lots, reduce_only=True)])
        venue.executions()


def accepted(practice: Any) -> dict[str, dict[str, Any]]:
    """Every order the exchange ever accepted, by our id."""
    return {each["clientOrderId"]: each for each in practice.orders()}


class Line:
    """A ccxt client of which one method is replaced."""

    def __init__(self, client: Any, name: str, method: Callable[..., Any]) -> None:
        self._client = client
        self._name = name
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return self._method if name == self._name else getattr(self._client, name)


def test_a_stop_sent_with_its_entry_protects_what_was_really_bought(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """The fee is taken out of what was bought: the stop is cut to whole lots of what is left, and rests."""
    venue = make_venue()
    sold_out(practice, venue)
    entry, guard = order(practice, Side.BUY, 1000), stop(practice, 1000)

    answers = venue.submit([entry, guard])

    held = Decimal(str(practice.client.fetch_balance()["total"]["BTC"]))
    resting = Decimal(str(practice.client.fetch_order("", BTC, {"origClientOrderId": guard.order.order_id})["amount"]))
    assert [Outcome.CONFIRMED] * 2 == [answer.outcome for answer in answers]
    assert held - listed(practice)[BTC].lot < resting <= held < entry.order.quantity
    assert (guard.order.order_id,) == venue.account().open_orders
    assert {entry.order.order_id} == {fill.order_id for fill in venue.executions()}


def test_a_stop_that_the_market_reaches_is_reported_like_any_execution(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    venue = make_venue()
    sold_out(practice, venue)
    guard = stop(practice, 900, "0.9999")
    venue.submit([order(practice, Side.BUY, 1000), guard])
    venue.executions()

    fills: list[Any] = []
    for _ in range(30):
        if not fills:
            fills += venue.fills(practice.next_event((BTC,)))

    assert {guard.order.order_id} == {fill.order_id for fill in fills}
    assert guard.order.quantity == sum(fill.quantity for fill in fills)
    assert () == venue.account().open_orders
    assert () == venue.executions()


def test_a_stop_with_nothing_to_protect_is_refused_as_dust_and_never_sent(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    venue = make_venue()
    sold_out(practice, venue)
    guard = stop(practice, 1000)

    (answer,) = venue.submit([guard])

    assert Outcome.REJECTED is answer.outcome
    assert answer.detail.startswith(TOO_SMALL)
    assert guard.order.order_id not in accepted(practice)


def test_a_stop_nobody_can_see_is_cancelled_and_reported_as_no_protection(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """The exchange accepted it and does not find it within the bound: whoever closes the position now must not meet it later."""
    blind_until = WallClock().seconds() + 1.3

    def blind(*arguments: Any) -> Any:
        if WallClock().seconds() < blind_until and str(arguments[2]).find(guard.order.order_id) >= 0:
            raise ccxt.OrderNotFound("binance Order does not exist.")
        return practice.client.fetch_order(*arguments)

    sold_out(practice, make_venue())
    make_venue().submit([order(practice, Side.BUY, 1000)])
    guard = stop(practice, 900)

    (answer,) = make_venue(Line(practice.client, "fetch_order", blind)).submit([guard])

    assert (Outcome.REJECTED, "not seen resting; then cancelled") == (answer.outcome, answer.detail)
    assert "CANCELED" == accepted(practice)[guard.order.order_id]["status"]


def test_a_wallet_that_is_behind_is_asked_again_before_a_stop_is_given_up(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """The first three answers are from before the purchase."""
    sold_out(practice, make_venue())
    before, answers = practice.client.fetch_balance(), itertools.count()
    venue = make_venue(Line(practice.client, "fetch_balance", lambda: before if next(answers) < 3 else practice.client.fetch_balance()))
    guard = stop(practice, 1000)

    venue.submit([order(practice, Side.BUY, 1000), guard])

    resting = practice.client.fetch_order("", BTC, {"origClientOrderId": guard.order.order_id})
    assert ("open", 4) == (resting["status"], next(answers))


@pytest.mark.parametrize("route", [Route.TWAP, Route.VWAP])
def test_slices_are_orders_of_their_own_and_executions_of_one_decision(practice: Any, make_venue: Callable[..., ExchangeVenue], route: Route) -> None:
    venue = make_venue(route=route, route_above=100.0, slices=3)
    parent = order(practice, Side.BUY, 3001)

    (answer,) = venue.submit([parent])
    fills = venue.executions()

    children = [accepted(practice)[slice_id(parent.order.order_id, index)] for index in range(3)]
    assert (Outcome.CONFIRMED, True) == (answer.outcome, "in 3 slices" in answer.detail)
    assert parent.order.quantity == sum(Decimal(child["origQty"]) for child in children) == sum(fill.quantity for fill in fills)
    assert {parent.order.order_id} == {fill.order_id for fill in fills}
    assert parent.order.order_id not in accepted(practice)
    assert () == venue.executions()


def test_an_iceberg_never_buys_more_than_it_was_told(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """Every slice rests at the touch, is cancelled, and a market order takes what it did not get. What other orders do at the exchange is theirs."""
    venue = make_venue(route=Route.ICEBERG, route_above=100.0, slices=2)
    parent, before = order(practice, Side.BUY, 2000), set(venue.account().open_orders)

    (answer,) = venue.submit([parent])
    fills = venue.executions()

    assert Outcome.CONFIRMED is answer.outcome
    assert parent.order.quantity == sum(fill.quantity for fill in fills)
    assert before == set(venue.account().open_orders)


def test_a_restarted_venue_finds_every_slice_that_went_out(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    rules = {"route": Route.TWAP, "route_above": 100.0, "slices": 3}
    parent = order(practice, Side.BUY, 3000)
    make_venue(**rules).submit([parent])

    second = make_venue(**rules)
    found = second.resolve(parent.order.order_id, BTC)
    fills = second.executions()

    assert (Outcome.CONFIRMED, "3 slices") == (found.outcome, found.detail)
    assert parent.order.quantity == sum(fill.quantity for fill in fills)


def test_an_order_is_cut_to_its_share_of_the_visible_depth(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    venue = make_venue(depth_share=0.0001, depth_bps=500.0)
    parent = order(practice, Side.BUY, 3000)

    venue.submit([parent])

    assert 0 < sum(fill.quantity for fill in venue.executions()) < parent.order.quantity


def test_a_cancellation_that_the_transport_repeated_is_still_a_cancellation(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """The first DELETE succeeded, the second says there is no such order: the order itself is asked."""

    def twice(*arguments: Any) -> Any:
        practice.client.cancel_order(*arguments)
        return practice.client.cancel_order(*arguments)

    venue = make_venue(Line(practice.client, "cancel_order", twice))
    price = Decimal(str(practice.client.fetch_ticker(BTC)["last"])) // 2
    resting = order(practice, Side.BUY, 1000, kind=OrderKind.LIMIT, life=OrderLife.GTC, price=price)
    venue.submit([resting])

    gone = venue.cancel(resting.order.order_id, BTC)

    assert (Outcome.CONFIRMED, "cancelled", Decimal(0)) == (gone.outcome, gone.detail, gone.filled)


def test_a_cancellation_whose_word_was_not_kept_is_repeated(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    """The first DELETE is answered and does nothing; the order is found open, and cancelled again."""
    asked = []

    def forgetful(*arguments: Any) -> Any:
        asked.append(arguments)
        return {} if len(asked) == 1 else practice.client.cancel_order(*arguments)

    venue = make_venue(Line(practice.client, "cancel_order", forgetful))
    price = Decimal(str(practice.client.fetch_ticker(BTC)["last"])) // 2
    resting = order(practice, Side.BUY, 1000, kind=OrderKind.LIMIT, life=OrderLife.GTC, price=price)
    venue.submit([resting])

    gone = venue.cancel(resting.order.order_id, BTC)

    assert (Outcome.CONFIRMED, 2) == (gone.outcome, len(asked))
    assert resting.order.order_id not in venue.account().open_orders


def test_an_answer_that_breaks_the_parser_is_in_doubt_and_settled_by_asking(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    def broken(*arguments: Any) -> Any:
        practice.client.create_order(*arguments)
        raise KeyError("orderId")

    venue, bought = make_venue(Line(practice.client, "create_order", broken)), order(practice, Side.BUY, 100)

    (doubtful,) = venue.submit([bought])
    settled = venue.resolve(bought.order.order_id, BTC)

    assert (Outcome.UNRESOLVED, Outcome.CONFIRMED) == (doubtful.outcome, settled.outcome)
    assert bought.order.quantity == sum(fill.quantity for fill in venue.executions())


def test_an_exchange_that_is_late_to_find_its_orders_is_waited_for(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    answers = itertools.count()

    def late(*arguments: Any) -> Any:
        if next(answers) < 3:
            raise ccxt.OrderNotFound("binance Order does not exist.")
        return practice.client.fetch_order(*arguments)

    venue, bought = make_venue(Line(practice.client, "fetch_order", late)), order(practice, Side.BUY, 100)
    venue.submit([bought])

    assert bought.order.quantity == sum(fill.quantity for fill in venue.executions())


def test_an_exchange_object_that_would_repeat_orders_is_refused(practice: Any, make_venue: Callable[..., ExchangeVenue]) -> None:
    repeating = ccxt.binance({"options": {"maxRetriesOnFailure": 3, "recvWindow": 500}})

    with pytest.raises(PreflightFailed, match="never repeats a request"):
        make_venue(repeating)
