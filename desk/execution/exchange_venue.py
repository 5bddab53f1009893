"""Orders on a real exchange, through a ccxt exchange object that is handed in.

A submission has an outcome, not an exception: `desk/execution/order_line.py` sends and asks. Here is what one decision becomes on a venue: whole
orders, slices of large ones, and stops that rest. Executions are asked for order by order, so nothing foreign is ever booked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from configs.trading import ExecutionSettings
from configs.vocabulary import OrderKind, OrderLife, Route, Side
from desk.clock import WallClock
from desk.errors import GateClosed
from desk.events import Approved, BarsClosed, Fill, Flow, Order
from desk.execution.liquidity import Liquidity
from desk.execution.order import ID_PREFIX, slice_id
from desk.execution.order_line import FIRST_PAUSE_S, LONGEST_PAUSE_S, OrderLine, Seen
from desk.execution.router import capped, whole_lots
from desk.execution.slicing import Slicer
from desk.execution.transfers import FeePrices, transfers
from desk.execution.venue import TOO_SMALL, Account, Answer, Outcome
from desk.execution.wire_orders import SLEEPING, broken_numbers, unfollowable
from desk.instruments import Instrument
from desk.market.wire_errors import asking
from desk.security.arming import ArmedLease

# How often an account is asked that shows less than was just bought, before it is believed; the pauses between add up to 0.3 s.
WALLET_ANSWERS = 5


class ExchangeVenue:
    """Implements `Venue` with orders named by our own ids. `exchange` has its markets loaded; `bar` is how long an order may live.

    `wait` lets seconds pass between two questions, or fewer when news of an order arrives; the default only waits. Each of `gates` is asked right
    before an order leaves: why it must not, or nothing.
    """

    def __init__(
        self,
        exchange: Any,
        instruments: Mapping[str, Instrument],
        *,
        clock: WallClock,
        lease: ArmedLease,
        bar: timedelta,
        rules: ExecutionSettings | None = None,
        wait: Callable[[float], None] | None = None,
        gates: Sequence[Callable[[], str]] = (),
    ) -> None:
        self._exchange = exchange
        self._instruments = dict(instruments)
        self._clock = clock
        self._lease = lease
        self._gates = tuple(gates)
        self._bar = bar
        self._rules = rules or ExecutionSettings()
        self._wait = wait or clock.wait
        self._line = OrderLine(exchange, instruments, clock, self._wait, self._forbidden)
        self._fees = FeePrices(exchange, self._instruments)
        self._liquidity = Liquidity(exchange, clock, self._rules.max_book_age_s)
        # By the decision's order id: the orders on the wire that belong to it and may still execute.
        self._working: dict[str, list[str]] = {}
        self._sent: set[str] = set()

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Send the orders one after the other, in the order given, which has the sells first and the stops last."""
        if not orders:
            return ()
        market_now = self._market_now()
        return tuple(self._submit(approved.order, market_now) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Every execution of the orders sent since the last call; limits whose bar is over are cancelled first."""
        return self.executions()

    def executions(self) -> tuple[Fill, ...]:
        """What executed since the last call: orders that end by themselves are waited for, resting ones looked at. Nothing is forgotten when
        asking fails.
        """
        seen: list[tuple[str, Seen]] = []
        for parent, children in self._working.items():
            seen += [(parent, self._look(child)) for child in children]
        fresh = [self._fees.valued(replace(fill, order_id=parent)) for parent, each in seen for fill in self._line.book([each])]
        for parent, each in seen:
            if each.ended:
                self._working[parent].remove(each.tracked.order.order_id)
        self._working = {parent: children for parent, children in self._working.items() if children}
        return tuple(fresh)

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Ask by our id until it is found, or until it can no longer appear. An order that went out in slices is found by its first one."""
        answer = self._line.resolve(order_id, symbol)
        if answer.outcome is Outcome.CONFIRMED:
            self._follow(order_id, order_id)
        if answer.outcome is not Outcome.REJECTED or self._rules.route is Route.MARKET:
            return answer
        return self._resolve_slices(order_id, symbol) or answer

    def cancel(self, order_id: str, symbol: str) -> Answer:
        """Cancel one order, until it is proven to have ended; one that was never there was ended before. The detail says how."""
        answer, tracked = self._line.cancel(order_id, symbol), self._line.tracked(order_id)
        if answer.filled and tracked is not None:
            self._follow(order_id, order_id)
        return answer

    def cancel_open(self, at: datetime, keep: Collection[str] = ()) -> None:
        """Cancel what is open and ours, but for the ids in `keep`. An order that is gone already is what was wanted."""
        for symbol, order_id in self._open_orders():
            if order_id not in keep:
                self._line.cancel(order_id, symbol)

    def account(self) -> Account:
        """Total balances and our open orders."""
        with asking("our balances"):
            totals = self._exchange.fetch_balance()["total"]
        balances = {asset: Decimal(str(amount)) for asset, amount in totals.items()}
        return Account(balances, tuple(order_id for _, order_id in self._open_orders()))

    def flows(self, until: datetime) -> tuple[Flow, ...]:
        """Money that came or went in the last months before `until`, and since."""
        return transfers(self._exchange, until)

    def _submit(self, order: Order, market_now: datetime) -> Answer:
        if order.order_id in self._sent:
            return Answer(order.order_id, Outcome.CONFIRMED, "sent before")
        refusal = broken_numbers(order) or unfollowable(order) or self._refusal(order, market_now)
        if refusal:
            return Answer(order.order_id, Outcome.REJECTED, refusal)
        if order.reduce_only:
            order = replace(order, quantity=self._reducible(order))
            least = self._instruments[order.symbol].min_notional
            if order.quantity <= 0 or order.quantity * (order.stop_price or order.reference_price) < least:
                return Answer(order.order_id, Outcome.REJECTED, f"{TOO_SMALL}: {order.quantity} left to sell, of a least notional of {least}")
        elif order.kind is OrderKind.MARKET:
            return self._send_market(order)
        answer = self._send(order.order_id, order)
        return self._secured(order) if order.kind is OrderKind.STOP and answer.outcome is Outcome.CONFIRMED else answer

    def _secured(self, order: Order) -> Answer:
        """A stop counts once it is seen resting, or executed, within the seconds allowed. One that is not seen is cancelled: nothing may linger unseen."""
        deadline = self._clock.seconds() + self._rules.protect_within_s
        while self._clock.seconds() < deadline:
            if self._line.find(order.order_id, order.symbol):
                seen = self._line.look(order.order_id, until_ended=False)
                if not seen.ended or seen.fills:
                    return Answer(order.order_id, Outcome.CONFIRMED, "seen resting")
                return Answer(order.order_id, Outcome.REJECTED, f"accepted, then {seen.state}")
            self._wait(LONGEST_PAUSE_S)
        gone = self._line.cancel(order.order_id, order.symbol)
        outcome = Outcome.CONFIRMED if gone.filled else Outcome.REJECTED
        return Answer(order.order_id, Outcome.UNRESOLVED if gone.outcome is Outcome.UNRESOLVED else outcome, f"not seen resting; then {gone.detail}")

    def _send_market(self, order: Order) -> Answer:
        """One market order, or as many slices as the router says."""
        slicer = Slicer(self._liquidity, self._rules, self._instruments[order.symbol])
        if slicer.idle:
            return self._send(order.order_id, order)
        quantity = capped(order.quantity, order, self._instruments[order.symbol], self._liquidity.view(order.symbol), self._rules)
        if quantity <= 0:
            return Answer(order.order_id, Outcome.REJECTED, "the visible book is too thin for one lot")
        order = replace(order, quantity=quantity)
        plan = slicer.plan(order)
        if len(plan.slices) == 1:
            return self._send(order.order_id, order)
        return slicer.run(order, plan, self)

    def send_slice(self, parent: Order, child: Order) -> Answer:
        """Send one slice; the executions are the parent's. In doubt it is settled before the next one may go."""
        refusal = self._refusal(parent, self._market_now())
        if refusal:
            return Answer(child.order_id, Outcome.REJECTED, refusal)
        answer = self._send(parent.order_id, child)
        if answer.outcome is not Outcome.UNRESOLVED:
            return answer
        answer = self._line.resolve(child.order_id, child.symbol)
        if answer.outcome is Outcome.CONFIRMED:
            self._follow(parent.order_id, child.order_id)
        return answer

    def replace_resting(self, parent: Order, resting: Order, successor: Order) -> Answer:
        """Cancel an order and send another for what it did not execute: never more than that, whoever wins the race."""
        gone = self._line.cancel(resting.order_id, resting.symbol)
        if gone.outcome is Outcome.UNRESOLVED:
            return Answer(successor.order_id, Outcome.UNRESOLVED, gone.detail)
        left = min(successor.quantity, resting.quantity - gone.filled)
        if left <= 0 or left * successor.reference_price < self._instruments[successor.symbol].min_notional:
            return Answer(successor.order_id, Outcome.REJECTED, f"{gone.filled} of {resting.quantity} was executed before")
        return self.send_slice(parent, replace(successor, quantity=left))

    def pause(self, seconds: float) -> None:
        """Let wall time pass between two slices."""
        self._clock.wait(seconds)

    def _send(self, parent: str, order: Order) -> Answer:
        answer = self._line.send(order)
        if answer.outcome is Outcome.CONFIRMED:
            self._follow(parent, order.order_id)
        return answer

    def _forbidden(self) -> str:
        """Why no order may leave the house now; empty when one may."""
        try:
            self._lease.check(self._clock.now())
        except GateClosed as error:
            return str(error)
        return next(filter(None, (gate() for gate in self._gates)), "")

    def _refusal(self, order: Order, market_now: datetime) -> str:
        """Why this order is not to be sent any more; empty when it is."""
        if order.life is not OrderLife.GTC and market_now >= order.decided_at + self._bar:
            return f"decided at {order.decided_at.isoformat()}, its bar was over at {market_now.isoformat()}"
        return ""

    def _reducible(self, order: Order) -> Decimal:
        """Quantity a reducing order may have: once what was sent for its symbol has ended, no more than is really held and free, fees gone."""
        missing = Decimal(0)
        for children in self._working.values():
            for child in children:
                tracked = self._line.tracked(child)
                if tracked is not None and tracked.order.symbol == order.symbol:
                    seen = self._look(child)
                    missing += _not_received(tracked.order, seen.fills, self._instruments[order.symbol]) if tracked.order.side is not order.side else 0
        if order.side is Side.BUY or ":" in order.symbol:
            return order.quantity
        instrument = self._instruments[order.symbol]
        return min(order.quantity, self._free(instrument, whole_lots(max(order.quantity - missing, Decimal(0)), instrument)))

    def _free(self, instrument: Instrument, expected: Decimal) -> Decimal:
        """Whole lots that are free. An account that shows less than was just bought may be behind: it is asked again before it is believed."""
        pause, free = FIRST_PAUSE_S, Decimal(0)
        for answer in range(WALLET_ANSWERS):
            if answer:
                self._wait(pause)
                pause *= 2
            with asking("our free balances"):
                found = self._exchange.fetch_balance()["free"]
            free = whole_lots(Decimal(str(found.get(instrument.base) or 0)), instrument)
            if free >= expected:
                break
        return free

    def _look(self, order_id: str) -> Seen:
        """One look at a working order: those that end by themselves are waited for, a limit that lives for a bar is cancelled first."""
        tracked = self._line.tracked(order_id)
        assert tracked is not None
        order = tracked.order
        resting = order.kind in SLEEPING or order.life is OrderLife.GTC
        if not resting and order.kind in (OrderKind.LIMIT, OrderKind.POST_ONLY) and order.life is OrderLife.BAR:
            self._line.cancel(order_id, order.symbol)
        return self._line.look(order_id, until_ended=not resting)

    def _resolve_slices(self, order_id: str, symbol: str) -> Answer | None:
        """The slices of an order, found one by one; they went out in sequence, so the first that is missing ends the search. None: there is none."""
        index = 0
        # The time in which a late request could arrive has passed: it was waited out for the order as a whole.
        while self._line.find(slice_id(order_id, index), symbol):
            self._follow(order_id, slice_id(order_id, index))
            if self._line.find(slice_id(order_id, index, attempt=2), symbol):
                self._follow(order_id, slice_id(order_id, index, attempt=2))
            index += 1
        return Answer(order_id, Outcome.CONFIRMED, f"{index} slices") if index else None

    def _follow(self, parent: str, child: str) -> None:
        self._sent.add(parent)
        children = self._working.setdefault(parent, [])
        if child not in children:
            children.append(child)

    def _market_now(self) -> datetime:
        return market_now(self._exchange)

    def _open_orders(self) -> list[tuple[str, str]]:
        found = []
        for symbol in self._instruments:
            with asking(f"the open orders of {symbol}"):
                orders = self._exchange.fetch_open_orders(symbol)
            found += [(symbol, str(order["clientOrderId"])) for order in orders if str(order["clientOrderId"]).startswith(ID_PREFIX)]
        return found


def _not_received(order: Order, fills: Sequence[Fill], instrument: Instrument) -> Decimal:
    """What an order did not bring of what it was to bring (base): the part that did not execute, and fees in kind."""
    fees = (fill.fee for fill in fills if fill.fee_asset == instrument.base)
    return order.quantity - sum((fill.quantity for fill in fills), Decimal(0)) + sum(fees, Decimal(0))


def market_now(exchange: Any) -> datetime:
    """The exchange's own time."""
    with asking("the exchange's time"):
        return datetime.fromtimestamp(exchange.fetch_time() / 1000, UTC)
