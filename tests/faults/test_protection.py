"""Rows 31 to 38: stops that fill unheard, in part, not at all or too late, and orders that may only reduce."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import ccxt
import pytest

from configs.trading import TradingSettings
from configs.vocabulary import OrderKind, OrderLife, Side, Submission, Timeframe
from desk.clock import WallClock
from desk.events import Approved, Order
from desk.execution.ccxt_settings import Dialect, constructor_config
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.execution.venue import Answer, Outcome
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease
from tests.faults.catalogue import POST, Row
from tests.faults.conftest import RECEIVE_WINDOW_MS, Desk
from tests.faults.stage import SYMBOL, Follower, Stage, bought, sold

pytestmark = pytest.mark.timeout(60)
CONTRACT = "BTC/USDT:USDT"
NUMBERS = count()
TENTH = Decimal("0.1")


def approved(client: Any, symbol: str, side: Side, quantity: Decimal, **more: Any) -> Approved:
    """An order of the forming bar."""
    now = datetime.fromtimestamp(client.fetch_time() / 1000, UTC)
    identity = order_id(f"protection-{next(NUMBERS)}", symbol, now, side.value, 1)
    return Approved(Order(identity, symbol, side, quantity, now, Decimal(40_000), **more))


class Contracts:
    """The contract side: a client, our venue on it, and what the exchange says of it."""

    def __init__(self, stage: Stage) -> None:
        keys = (stage.exchange.greeting[name] for name in ("rest", "ws", "api_key", "secret"))
        self.exchange = stage.exchange
        self.client = ccxt.binanceusdm(constructor_config(*keys, Dialect.LINEAR))
        self.client.options["recvWindow"] = RECEIVE_WINDOW_MS
        self.client.load_markets()

    def position(self) -> Decimal:
        """Signed base units."""
        return sum((Decimal(str(each["contracts"])) * (1 if each["side"] == "long" else -1) for each in self.client.fetch_positions([CONTRACT])), Decimal(0))

    def resting(self) -> int:
        """Plain and conditional orders that may still fill."""
        return len(self.client.fetch_open_orders(CONTRACT)) + len(self.client.fetch_open_orders(CONTRACT, params={"trigger": True}))

    def flatten(self) -> None:
        """No order and no position."""
        self.client.cancel_all_orders(CONTRACT)
        self.client.cancel_all_orders(CONTRACT, {"trigger": True})
        if self.position():
            side = "sell" if self.position() > 0 else "buy"
            self.client.create_order(CONTRACT, "market", side, str(abs(self.position())), None, {"reduceOnly": True})

    def order(self, side: Side, quantity: Decimal = TENTH, **more: Any) -> Approved:
        """An approved contract order."""
        return approved(self.client, CONTRACT, side, quantity, **more)


@pytest.fixture
def contracts(stage: Stage) -> Iterator[Contracts]:
    contracts = Contracts(stage)
    contracts.flatten()
    yield contracts
    stage.exchange.clear()
    contracts.flatten()


@pytest.fixture
def contract_venue(contracts: Contracts, staged: Desk) -> Iterator[ExchangeVenue]:
    """Our side of the contract side."""
    instruments = {CONTRACT: ExchangeSource(contracts.client).instruments()[CONTRACT]}
    with ArmedLease(staged.folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        yield ExchangeVenue(contracts.client, instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)


def settled(venue: ExchangeVenue, order: Approved) -> Answer:
    """Send one order; in doubt, ask."""
    (answer,) = venue.submit([order])
    return venue.resolve(order.order.order_id, order.order.symbol) if answer.outcome is Outcome.UNRESOLVED else answer


def stops(desk: Desk) -> list[dict[str, Any]]:
    """Every stop of a session that the exchange accepted."""
    return [each for each in desk.accepted() if each["type"] == "STOP_LOSS"]


@pytest.mark.row(31)
def test_a_stop_that_filled_unheard_is_booked_at_the_next_close_and_nothing_is_sold_twice(stage: Stage, staged: Desk, row: Row) -> None:
    staged.policy, staged.trading, staged.submission = Follower(), TradingSettings(protective_stop=0.1), Submission.STREAM
    stage.bring("dip")
    stage.exchange.plan(*row.faults)

    staged.trade(3)

    filled = [each for each in staged.accepted() if each["status"] == "FILLED"]
    assert ["MARKET", "STOP_LOSS"] == [each["type"] for each in filled]
    assert [filled[1]["clientOrderId"]] == [fill.order_id for fill in staged.journalled()[2].fills]
    assert stage.exchange.struck() >= 2
    staged.agrees()


@pytest.mark.row(32)
def test_no_stop_is_placed_for_a_position_that_is_closed(stage: Stage, staged: Desk, row: Row) -> None:
    """News of the entry and of the close come late, and the last of them after everything: none of them makes anybody protect nothing."""
    staged.policy, staged.trading, staged.submission = Follower(), TradingSettings(protective_stop=0.9), Submission.STREAM
    stage.bring("dip")
    stage.exchange.plan(*row.faults)

    staged.trade(5)

    orders = staged.accepted()
    assert ("SELL", "MARKET", "FILLED") == (orders[-1]["side"], orders[-1]["type"], orders[-1]["status"])
    assert {"CANCELED"} == {each["status"] for each in stops(staged)}
    assert [] == stage.exchange.client.fetch_open_orders(SYMBOL)
    assert stage.exchange.struck() >= 3
    closed, *after = staged.journalled()[2:]
    assert [OrderKind.MARKET] == [each.order.kind for each in closed.approved]
    assert [((), ())] * 2 == [(step.approved, step.stops) for step in after]
    staged.agrees()


@pytest.mark.row(33)
def test_a_conditional_contract_order_is_not_sent_where_we_would_lose_sight_of_it(contracts: Contracts, contract_venue: ExchangeVenue, row: Row) -> None:
    """Conditional orders of contracts moved to a path of their own, with ids of their own. What we could not find again must not rest."""
    contract_venue.submit([contracts.order(Side.BUY)])
    contracts.exchange.plan(*row.faults)
    guard = contracts.order(Side.SELL, kind=OrderKind.STOP, life=OrderLife.GTC, stop_price=Decimal(39_000), reduce_only=True)

    answer = settled(contract_venue, guard)

    assert (Outcome.REJECTED, 0) == (answer.outcome, contracts.resting())


@pytest.mark.row(33)
def test_the_exchange_says_that_stops_have_moved(contracts: Contracts) -> None:
    with pytest.raises(ccxt.InvalidOrder, match="-4120"):
        contracts.client.fapiPrivatePostOrder({"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "stopPrice": "39000", "quantity": "0.1"})

    assert 0 == contracts.resting()


@pytest.mark.row(33)
def test_a_position_whose_stop_the_exchange_takes_no_more_is_closed_at_once(stage: Stage, staged: Desk, row: Row) -> None:
    """The entry filled, the stop behind it is refused with -4120: nothing stays unprotected over the bar."""
    staged.policy, staged.trading = Follower(), TradingSettings(protective_stop=0.3)
    stage.bring("dip")
    (refusal,) = row.faults
    stage.exchange.plan({**refusal, **POST, "nth": 2, "times": 1})

    staged.trade(1)

    orders = staged.accepted()
    assert 1 == stage.exchange.struck()
    assert [("BUY", "FILLED"), ("SELL", "FILLED")] == [(each["side"], each["status"]) for each in orders]
    assert bought(orders) - sold(orders) < staged.exchange.instruments[SYMBOL].lot
    staged.agrees()


@pytest.mark.row(34)
def test_a_stop_limit_that_the_market_jumped_over_is_open_and_not_taken_for_filled(stage: Stage, staged: Desk, venue: ExchangeVenue) -> None:
    """The stop beside it, of the kind that the desk protects with, fills at the open beyond the gap."""
    client, half = stage.exchange.client, Decimal("0.009")
    stage.bring("low")
    venue.submit([approved(client, SYMBOL, Side.BUY, 2 * half + Decimal("0.001"))])
    guards = {"kind": OrderKind.STOP, "life": OrderLife.GTC, "stop_price": Decimal(29_000), "reduce_only": True}
    stop = approved(client, SYMBOL, Side.SELL, half, **guards)
    limited = approved(client, SYMBOL, Side.SELL, half, **{**guards, "kind": OrderKind.STOP_LIMIT, "price": Decimal(28_900)})
    venue.submit([stop, limited])
    venue.executions()

    stage.exchange.advance()
    fills = venue.executions()
    stage.exchange.advance()
    later = venue.executions()

    assert [(stop.order.order_id, half)] == [(fill.order_id, fill.quantity) for fill in fills]
    assert fills[0].price <= 25_000
    assert ((), (limited.order.order_id,)) == (later, venue.account().open_orders)
    gone = venue.cancel(limited.order.order_id, SYMBOL)
    assert (Outcome.CONFIRMED, Decimal(0)) == (gone.outcome, gone.filled)
    venue.submit([approved(client, SYMBOL, Side.SELL, half, reduce_only=True)])
    assert [half] == [fill.quantity for fill in venue.executions()]


@pytest.mark.row(35)
@pytest.mark.parametrize("below", [0.0, math.nan], ids=["the rule goes out", "the rule says nothing"])
def test_what_a_stop_could_not_sell_is_sold_after_it(stage: Stage, staged: Desk, below: float) -> None:
    """A tenth of a thin bar was all it got. The rest is neither forgotten nor left without protection: the rule sells it, or, when it wants nothing,
    a new stop is refused because its price is passed already, and then the position is closed.
    """
    staged.policy, staged.trading = Follower(28_000.0, below), TradingSettings(protective_stop=0.1)
    stage.bring("fall")

    staged.trade(3)

    orders, (stop, *later) = staged.accepted(), stops(staged)
    assert ("EXPIRED", TENTH) == (stop["status"], Decimal(stop["executedQty"]))
    assert [] == later
    assert bought(orders) - sold(orders) < staged.exchange.instruments[SYMBOL].lot
    assert [] == stage.exchange.client.fetch_open_orders(SYMBOL)
    staged.agrees()


@pytest.mark.row(36)
def test_a_stop_whose_cancel_is_lost_does_not_outlive_its_position(stage: Stage, staged: Desk, row: Row) -> None:
    """The close waits until the exchange shows the stop as ended; then the market falls below where it was, and nothing happens."""
    staged.policy, staged.trading = Follower(), TradingSettings(protective_stop=0.35)
    staged.midway, staged.midway_bar = row.faults, 3
    stage.bring("dip")

    staged.trade(6)

    orders = staged.accepted()
    assert 2 == stage.exchange.struck()
    assert ("SELL", "MARKET", "FILLED") == (orders[-1]["side"], orders[-1]["type"], orders[-1]["status"])
    assert {"CANCELED"} == {each["status"] for each in stops(staged)}
    assert [] == stage.exchange.client.fetch_open_orders(SYMBOL)
    staged.agrees()


@pytest.mark.row(37)
def test_an_emergency_close_that_a_resting_order_is_in_the_way_of_is_refused_and_passes_once_it_is_gone(
    contracts: Contracts, contract_venue: ExchangeVenue
) -> None:
    resting = contracts.order(Side.SELL, kind=OrderKind.LIMIT, life=OrderLife.GTC, price=Decimal(50_000), reduce_only=True)
    contract_venue.submit([contracts.order(Side.BUY), resting])

    blocked = settled(contract_venue, contracts.order(Side.SELL, reduce_only=True))
    held = contracts.position()
    gone = contract_venue.cancel(resting.order.order_id, CONTRACT)
    closed = settled(contract_venue, contracts.order(Side.SELL, reduce_only=True))

    assert (Outcome.REJECTED, TENTH) == (blocked.outcome, held)
    assert [Outcome.CONFIRMED] * 2 == [gone.outcome, closed.outcome]
    assert (Decimal(0), 0) == (contracts.position(), contracts.resting())


@pytest.mark.row(37)
def test_a_refused_emergency_close_is_known_as_one_and_the_next_one_closes(contracts: Contracts, contract_venue: ExchangeVenue, row: Row) -> None:
    """-4118 out of nothing: after it the position is what it was, and the refused order comes to nothing."""
    contract_venue.submit([contracts.order(Side.BUY)])
    contracts.exchange.plan(*row.faults)

    refused = settled(contract_venue, contracts.order(Side.SELL, reduce_only=True))
    held = contracts.position()
    closed = settled(contract_venue, contracts.order(Side.SELL, reduce_only=True))

    assert (1, Outcome.REJECTED, TENTH) == (contracts.exchange.struck(), refused.outcome, held)
    assert (Outcome.CONFIRMED, Decimal(0)) == (closed.outcome, contracts.position())


@pytest.mark.row(38)
def test_two_reducing_orders_of_the_whole_position_close_it_once(stage: Stage, contracts: Contracts, contract_venue: ExchangeVenue) -> None:
    """Both are accepted, a limit of ours and a conditional one; then part of the position is sold without a word about reducing. Both are reached in one
    bar: the first gets what is left, the second finds nothing to reduce, and neither turns the position.
    """
    stage.bring("rise")
    limit = contracts.order(Side.SELL, kind=OrderKind.LIMIT, life=OrderLife.GTC, price=Decimal(30_000), reduce_only=True)
    contract_venue.submit([contracts.order(Side.BUY), limit])
    contracts.client.create_order(CONTRACT, "market", "sell", str(TENTH), None, {"takeProfitPrice": "31000", "reduceOnly": True})
    contract_venue.submit([contracts.order(Side.SELL, Decimal("0.04"))])
    assert (2, Decimal("0.06")) == (contracts.resting(), contracts.position())

    stage.exchange.advance()
    closed = contracts.position()
    stage.exchange.advance()

    assert (0, 0, 0) == (closed, contracts.position(), contracts.resting())
    found = contract_venue.executions()
    assert {"buy": [TENTH], "sell": [Decimal("0.04"), Decimal("0.06")]} == {
        side.value: sorted(fill.quantity for fill in found if fill.side is side) for side in Side
    }
