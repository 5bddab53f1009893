"""What every venue must do, whichever it is: one suite, run against the simulated venue and a real exchange process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.books.journal import Recovered
from desk.books.portfolio import Portfolio
from desk.books.reconcile import reconcile
from desk.clock import WallClock
from desk.events import Approved, Bar, BarsClosed, Order
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

    def order(self, side: Side, lots: int, symbol: str = "BTC/USDT") -> Approved:
        identity = order_id("conformance", symbol, self.now(), str(next(LEGS)), 1)
        return Approved(Order(identity, symbol, side, lots * self.instruments[symbol].lot, self.now(), Decimal(100)))


def simulated_world() -> World:
    instruments = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in SYMBOLS}
    venue = SimulatedVenue(instruments, CostSettings(), {"USDT": Decimal(100000), "BTC": Decimal(0), "ETH": Decimal(0)})
    clock = [datetime(2024, 1, 1, tzinfo=UTC)]

    def next_event() -> BarsClosed:
        opened = clock[0]
        clock[0] += timedelta(hours=1)
        return BarsClosed(clock[0], tuple(Bar(symbol, Timeframe.H1, opened, 100.0, 101.0, 99.0, 100.0, 1e4) for symbol in SYMBOLS))

    return World(venue, instruments, lambda: clock[0], next_event)


def exchange_world(practice: Any, lease: ArmedLease) -> World:
    known = ExchangeSource(practice.client).instruments()
    instruments = {symbol: known[symbol] for symbol in SYMBOLS}
    venue = ExchangeVenue(practice.client, instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
    return World(venue, instruments, practice.now, lambda: practice.next_event(SYMBOLS))


@pytest.fixture(params=["simulated", "exchange"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "simulated":
        yield simulated_world()
        return
    with ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        yield exchange_world(request.getfixturevalue("practice"), lease)


def test_an_order_is_confirmed_and_its_execution_reported_by_the_next_event(world: World) -> None:
    order = world.order(Side.BUY, 50)

    answers = world.venue.submit([order])
    fills = world.venue.fills(world.next_event())

    assert [(answer.order_id, answer.outcome) for answer in answers] == [(order.order.order_id, Outcome.CONFIRMED)]
    assert {(fill.order_id, fill.symbol, fill.side) for fill in fills} == {(order.order.order_id, "BTC/USDT", Side.BUY)}
    assert sum(fill.quantity for fill in fills) == order.order.quantity
    assert all(fill.price > 0 and fill.fee >= 0 for fill in fills)


def test_an_execution_is_reported_once(world: World) -> None:
    world.venue.submit([world.order(Side.BUY, 50)])
    first = world.venue.fills(world.next_event())

    second = world.venue.fills(world.next_event())

    assert first
    assert second == ()


def test_the_same_order_again_is_the_same_order(world: World) -> None:
    """Before it is executed and after."""
    order = world.order(Side.BUY, 50)
    world.venue.submit([order])
    world.venue.submit([order])
    fills = world.venue.fills(world.next_event())

    (answer,) = world.venue.submit([order])

    assert answer.outcome is Outcome.CONFIRMED
    assert sum(fill.quantity for fill in fills) == order.order.quantity
    assert world.venue.fills(world.next_event()) == ()


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
        for fill in world.venue.fills(world.next_event()):
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
