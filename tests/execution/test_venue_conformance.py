"""What every venue must do, whichever it is: one suite, run against the simulated venue and a real exchange process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from configs.trading import CostSettings
from configs.vocabulary import OrderKind, OrderLife, Side, Timeframe
from desk.books.journal import Recovered
from desk.books.portfolio import Portfolio
from desk.books.reconcile import reconcile
from desk.clock import WallClock
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.execution.simulated_venue import SimulatedVenue
from desk.execution.venue import Outcome, Venue
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease

SYMBOLS = ("BTC/USDT", "ETH/USDT")
LEGS = itertools.count()


@dataclass
class World:
    """A venue, what it trades, its market time, and a way to let the next bar happen."""

    venue: Venue
    instruments: dict[str, Instrument]
    now: Callable[[], datetime]
    next_event: Callable[[], BarsClosed]
    last: dict[str, float] = field(default_factory=dict)

    def order(self, side: Side, lots: int, symbol: str = "BTC/USDT", **more: Any) -> Approved:
        identity = order_id("conformance", symbol, self.now(), str(next(LEGS)), 1)
        return Approved(Order(identity, symbol, side, lots * self.instruments[symbol].lot, self.now(), Decimal(100), **more))

    def price(self, factor: str, symbol: str = "BTC/USDT") -> Decimal:
        """`factor` times the last close, on the grid."""
        tick = self.instruments[symbol].tick
        return Decimal(repr(self.last[symbol])) * Decimal(factor) // tick * tick

    def event(self) -> BarsClosed:
        """The next event; its closes are remembered."""
        event = self.next_event()
        self.last |= {bar.symbol: bar.close for bar in event.bars}
        return event


def simulated_world() -> World:
    instruments = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in SYMBOLS}
    venue = SimulatedVenue(instruments, CostSettings(), {"USDT": Decimal(100000), "BTC": Decimal(0), "ETH": Decimal(0)})
    clock = [datetime(2024, 1, 1, tzinfo=UTC)]

    def next_event() -> BarsClosed:
        opened = clock[0]
        clock[0] += timedelta(hours=1)
        return BarsClosed(clock[0], tuple(Bar(symbol, Timeframe.H1, opened, 100.0, 101.0, 99.0, 100.0, 1e4) for symbol in SYMBOLS))

    return World(venue, instruments, lambda: clock[0], next_event)


def exchange_world(practice: Any, lease: ArmedLease, wire: Any, wait: Callable[[float], None] | None) -> World:
    known = ExchangeSource(practice.client).instruments()
    instruments = {symbol: known[symbol] for symbol in SYMBOLS}
    venue = ExchangeVenue(wire, instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta, wait=wait)
    return World(venue, instruments, practice.now, lambda: practice.next_event(SYMBOLS))


@pytest.fixture(params=["simulated", "rest", "stream"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The simulated venue; a practice exchange over ccxt's REST; the same with orders over ccxt.pro's websocket."""
    if request.param == "simulated":
        found = simulated_world()
        found.event()
        yield found
        return
    practice, (wire, wait) = request.getfixturevalue("practice"), request.getfixturevalue("wires")[request.param]
    with ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        found = exchange_world(practice, lease, wire, wait)
        found.venue.cancel_open(practice.now())
        found.event()
        yield found


def test_an_order_is_confirmed_and_its_execution_reported_by_the_next_event(world: World) -> None:
    order = world.order(Side.BUY, 50)

    answers = world.venue.submit([order])
    fills = world.venue.fills(world.event())

    assert [(answer.order_id, answer.outcome) for answer in answers] == [(order.order.order_id, Outcome.CONFIRMED)]
    assert {(fill.order_id, fill.symbol, fill.side) for fill in fills} == {(order.order.order_id, "BTC/USDT", Side.BUY)}
    assert sum(fill.quantity for fill in fills) == order.order.quantity
    assert all(fill.price > 0 and fill.fee >= 0 for fill in fills)


def test_an_execution_is_reported_once(world: World) -> None:
    world.venue.submit([world.order(Side.BUY, 50)])
    first = world.venue.fills(world.event())

    second = world.venue.fills(world.event())

    assert first
    assert second == ()


def test_the_same_order_again_is_the_same_order(world: World) -> None:
    """Before it is executed and after."""
    order = world.order(Side.BUY, 50)
    world.venue.submit([order])
    world.venue.submit([order])
    fills = world.venue.fills(world.event())

    (answer,) = world.venue.submit([order])

    assert answer.outcome is Outcome.CONFIRMED
    assert sum(fill.quantity for fill in fills) == order.order.quantity
    assert world.venue.fills(world.event()) == ()


def test_what_was_sent_is_found_and_what_was_not_is_not(world: World) -> None:
    order, never_sent = world.order(Side.BUY, 50), world.order(Side.BUY, 50)
    world.venue.submit([order])

    found = world.venue.resolve(order.order.order_id, "BTC/USDT")
    missing = world.venue.resolve(never_sent.order.order_id, "BTC/USDT")

    assert (found.outcome, missing.outcome) == (Outcome.CONFIRMED, Outcome.REJECTED)


def test_the_account_is_the_fold_of_the_fills(world: World) -> None:
    """Buys and sells in two symbols, fees in whatever asset the venue takes them: our book and the account stay equal."""
    portfolio = Portfolio.of_balances(world.instruments, "USDT", world.venue.account().balances)

    for orders in ([world.order(Side.BUY, 90), world.order(Side.BUY, 70, "ETH/USDT")], [world.order(Side.SELL, 40), world.order(Side.BUY, 10, "ETH/USDT")]):
        world.venue.submit([Approved(fresh(approved.order, world.now())) for approved in orders])
        for fill in world.venue.fills(world.event()):
            assert portfolio.apply(fill)

    account = world.venue.account()
    reconcile(Recovered(world.now(), portfolio, None, (), 0), account.balances, account.open_orders)


def fresh(order: Order, now: datetime) -> Order:
    """The same order, decided now."""
    return Order(order.order_id, order.symbol, order.side, order.quantity, now, order.reference_price)


def test_nothing_is_open_once_it_was_cancelled(world: World) -> None:
    world.venue.submit([world.order(Side.BUY, 50)])

    world.venue.cancel_open(world.now())

    assert world.venue.account().open_orders == ()


def drained(world: World) -> list[Fill]:
    """What the next event reports."""
    return list(world.venue.fills(world.event()))


def test_a_limit_far_from_the_market_rests_and_dies_with_its_bar(world: World) -> None:
    (answer,) = world.venue.submit([world.order(Side.BUY, 50, kind=OrderKind.LIMIT, price=world.price("0.5"))])
    while_waiting = world.venue.account().open_orders

    fills = drained(world)

    assert Outcome.CONFIRMED is answer.outcome
    assert (answer.order_id,) == while_waiting
    assert [] == fills
    assert () == world.venue.account().open_orders


def test_a_limit_without_end_rests_until_it_is_cancelled(world: World) -> None:
    (answer,) = world.venue.submit([world.order(Side.BUY, 50, kind=OrderKind.POST_ONLY, life=OrderLife.GTC, price=world.price("0.5"))])

    fills, resting = drained(world), world.venue.account().open_orders
    gone = world.venue.cancel(answer.order_id, "BTC/USDT")

    assert ([], (answer.order_id,)) == (fills, resting)
    assert (Outcome.CONFIRMED, Decimal(0)) == (gone.outcome, gone.filled)
    assert () == world.venue.account().open_orders
    assert [] == drained(world)


@pytest.mark.parametrize("life", [OrderLife.BAR, OrderLife.GTC, OrderLife.IOC, OrderLife.FOK])
def test_a_limit_through_the_market_executes_no_worse_than_its_price(world: World, life: OrderLife) -> None:
    limit = world.price("1.2")
    order = world.order(Side.BUY, 50, kind=OrderKind.LIMIT, life=life, price=limit)

    world.venue.submit([order])
    fills = drained(world)

    assert order.order.quantity == sum(fill.quantity for fill in fills)
    assert all(fill.price <= limit for fill in fills)
    assert () == world.venue.account().open_orders


@pytest.mark.parametrize("life", [OrderLife.IOC, OrderLife.FOK])
def test_now_or_never_far_from_the_market_is_never(world: World, life: OrderLife) -> None:
    world.venue.submit([world.order(Side.BUY, 50, kind=OrderKind.LIMIT, life=life, price=world.price("0.5"))])

    assert [] == drained(world)
    assert () == world.venue.account().open_orders


def test_a_stop_below_the_market_rests_across_bars_until_it_is_cancelled(world: World) -> None:
    world.venue.submit([world.order(Side.BUY, 50)])
    drained(world)
    stop = world.order(Side.SELL, 30, kind=OrderKind.STOP, life=OrderLife.GTC, stop_price=world.price("0.5"), reduce_only=True)

    (answer,) = world.venue.submit([stop])
    fills, resting = drained(world) + drained(world), world.venue.account().open_orders
    gone = world.venue.cancel(stop.order.order_id, "BTC/USDT")

    assert (Outcome.CONFIRMED, [], (stop.order.order_id,)) == (answer.outcome, fills, resting)
    assert (Outcome.CONFIRMED, ()) == (gone.outcome, world.venue.account().open_orders)


def test_cancelling_what_was_executed_is_no_error_and_loses_no_execution(world: World) -> None:
    """The race that a cancellation loses."""
    order = world.order(Side.BUY, 50)
    world.venue.submit([order])
    fills = drained(world)

    gone = world.venue.cancel(order.order.order_id, "BTC/USDT")
    fills += drained(world)

    assert Outcome.CONFIRMED is gone.outcome
    assert order.order.quantity == sum(fill.quantity for fill in {fill.trade_id: fill for fill in fills}.values())


@pytest.mark.parametrize(
    "broken", [{"kind": OrderKind.LIMIT}, {"kind": OrderKind.LIMIT, "price": Decimal("NaN")}, {"kind": OrderKind.STOP, "stop_price": Decimal(0)}]
)
def test_an_order_whose_price_is_no_number_is_refused(world: World, broken: dict[str, Any]) -> None:
    (answer,) = world.venue.submit([world.order(Side.BUY, 50, **broken)])

    assert (Outcome.REJECTED, "positive number" in answer.detail) == (answer.outcome, True)
    assert () == world.venue.account().open_orders


def test_what_was_bought_can_be_sold_to_the_last_whole_lot(world: World) -> None:
    """Where the fee is taken out of what was bought, less is held than was ordered: the book knows, and the venue never says no."""
    portfolio = Portfolio.of_balances(world.instruments, "USDT", {**world.venue.account().balances, "BTC": Decimal(0)})
    world.venue.submit([world.order(Side.BUY, 777)])
    for fill in drained(world):
        portfolio.apply(fill)

    (answer,) = world.venue.submit([world.order(Side.SELL, portfolio.lots["BTC/USDT"])])
    for fill in drained(world):
        portfolio.apply(fill)

    assert Outcome.CONFIRMED is answer.outcome
    assert 0 == portfolio.lots["BTC/USDT"]
    assert 0 <= portfolio.positions["BTC/USDT"] < world.instruments["BTC/USDT"].lot
