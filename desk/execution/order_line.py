"""One order at a time over the wire to an exchange: send it once, ask what became of it, cancel it, read what it executed.

A submission has an outcome, not an exception, and is never repeated. What was asked may be asked again: every question here is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from desk.clock import WallClock
from desk.errors import PreflightFailed, VenueBusy
from desk.events import Fill, Order
from desk.execution.lifecycle import OrderState, Tracked, state_of
from desk.execution.outcome import outcome_of_error, outcome_of_reply
from desk.execution.venue import Answer, Outcome
from desk.execution.wire_orders import TERMINAL, arguments_of, fill_of, number, order_found
from desk.instruments import Instrument
from desk.market.wire_errors import asking

# Consecutive clean answers "no such order" needed, besides the time in which a late request could still be accepted.
NOT_FOUND_ANSWERS = 3
# Beyond the receive window: for the way there and back.
WIRE_MARGIN_S = 1.0
# Asking starts quickly, for answers that are only late, and slows down.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
# An exchange that answers only now and then is asked for so many windows before we give up.
WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at an order found: its state, and every trade of it."""

    tracked: Tracked
    state: OrderState
    fills: tuple[Fill, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state not in (OrderState.WORKING, OrderState.PARTIALLY_FILLED)


class OrderLine:
    """The line to one exchange. `exchange` is a synchronous ccxt object, or one that behaves like it; `wait` lets seconds pass, or fewer on news.

    `permit` is asked right before each order leaves: why it must not, or nothing. Questions and cancellations need no permission.
    """

    def __init__(
        self, exchange: Any, instruments: Mapping[str, Instrument], clock: WallClock, wait: Callable[[float], None], permit: Callable[[], str]
    ) -> None:
        if exchange.options.get("maxRetriesOnFailure") or exchange.options.get("createOrder", {}).get("maxRetriesOnFailure"):
            raise PreflightFailed("expected an exchange object that never repeats a request, found maxRetriesOnFailure set: leave it out of its options")
        self._exchange = exchange
        self._instruments = dict(instruments)
        self._clock = clock
        self._wait = wait
        self._permit = permit
        self._window_s = float(exchange.options["recvWindow"]) / 1000 + WIRE_MARGIN_S
        # Whoever sent what we find in the journal and did not send ourselves was dead by now: its last request can arrive for one window more.
        self._began_s = clock.seconds()
        self._known: dict[str, Tracked] = {}
        self._absent: set[str] = set()

    def send(self, order: Order) -> Answer:
        """Send an order that was never sent; one that was is answered from memory."""
        known = self._known.get(order.order_id)
        if known is not None and known.state is not OrderState.REJECTED:
            doubtful = known.state in (OrderState.IN_FLIGHT, OrderState.UNRESOLVED)
            return Answer(order.order_id, Outcome.UNRESOLVED if doubtful else Outcome.CONFIRMED, "sent before")
        forbidden = self._permit()
        if forbidden:
            return Answer(order.order_id, Outcome.REJECTED, forbidden)
        self._absent.discard(order.order_id)
        tracked = self._known[order.order_id] = Tracked(order)
        tracked.move(OrderState.IN_FLIGHT)
        answer = self._post(order)
        if answer.outcome is Outcome.CONFIRMED:
            tracked.venue_id = answer.detail
            tracked.move(OrderState.WORKING)
        else:
            tracked.move(OrderState.REJECTED if answer.outcome is Outcome.REJECTED else OrderState.UNRESOLVED)
        return answer

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Ask by our id until it is found, or until it can no longer appear: time up, several clean answers in a row that it does not exist, and
        neither the open orders nor the trades know it.
        """
        if order_id in self._absent:
            return Answer(order_id, Outcome.REJECTED, "never arrived, as was proven before")
        began, pause, absent, detail = self._clock.seconds(), FIRST_PAUSE_S, 0, "no answer"
        latest_s = began if order_id in self._known else self._began_s
        while True:
            asked_s, quiet_s = self._clock.seconds() - began, self._clock.seconds() - latest_s
            found, problem = self._ask(order_id, symbol)
            if found is not None:
                self._remember(order_id, symbol, found)
                return Answer(order_id, Outcome.CONFIRMED, str(found["id"]))
            absent, detail = (0, problem) if problem else (absent + 1, detail)
            if quiet_s >= self._window_s and absent >= NOT_FOUND_ANSWERS and not self._traces(order_id, symbol):
                self._bury(order_id)
                return Answer(order_id, Outcome.REJECTED, f"never arrived: {absent} times not found")
            if asked_s >= WINDOWS * self._window_s:
                return Answer(order_id, Outcome.UNRESOLVED, detail)
            self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def find(self, order_id: str, symbol: str) -> bool:
        """Ask once, by our id, whether an order exists. No answer raises."""
        found, problem = self._ask(order_id, symbol)
        if problem:
            raise VenueBusy(f"expected to hear whether {order_id} exists, found {problem}: ask again later")
        if found is not None:
            self._remember(order_id, symbol, found)
        return found is not None

    def look(self, order_id: str, *, until_ended: bool) -> Seen:
        """An order and its trades, which add up to what it says was filled; changes nothing that we know. `VenueBusy` when it takes too long.

        An exchange may be late in finding what it accepted: until time is up that is no answer.
        """
        tracked, began, pause, detail = self._known[order_id], self._clock.seconds(), FIRST_PAUSE_S, ""
        while self._clock.seconds() - began < self._window_s:
            found, problem = self._ask(order_id, tracked.order.symbol)
            detail = problem or "not found"
            if found is not None:
                filled, fills = self._executed(order_id, tracked.order.symbol, found)
                complete = sum((fill.quantity for fill in fills), Decimal(0)) == filled
                if complete and (found["status"] in TERMINAL or not until_ended):
                    return Seen(tracked, state_of(found["status"], filled), fills)
                detail = f"status {found['status']}, {filled} filled and {len(fills)} trades"
            self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        raise VenueBusy(f"expected {order_id} to end with trades that add up, found {detail}: start again")

    def book(self, seen: Sequence[Seen]) -> tuple[Fill, ...]:
        """Take note of what was seen, all of it or (by an error before) nothing; the fills that are new."""
        fresh = []
        for each in seen:
            each.tracked.move(each.state)
            fresh += [fill for fill in each.fills if each.tracked.count(fill.trade_id, fill.quantity)]
        return tuple(fresh)

    def cancel(self, order_id: str, symbol: str) -> Answer:
        """Cancel until the exchange says that the order has ended, in whatever way: filled is a normal result. Says how it ended.

        An error proves nothing here, not even "no such order": a transport may have repeated the request that succeeded.
        """
        import ccxt

        began, pause, problem = self._clock.seconds(), FIRST_PAUSE_S, ""
        tracked = self._known.get(order_id)
        if tracked is not None and tracked.state in (OrderState.WORKING, OrderState.PARTIALLY_FILLED):
            tracked.move(OrderState.CANCELLING)
        while True:
            try:
                self._exchange.cancel_order("", symbol, {"origClientOrderId": order_id})
            except ccxt.BaseError as error:
                problem = f"{type(error).__name__}: {error}"
            found, doubt = self._ask(order_id, symbol)
            if found is not None and found["status"] in TERMINAL:
                self._remember(order_id, symbol, found)
                filled = number(found["filled"], "the filled quantity")
                return Answer(order_id, Outcome.CONFIRMED, state_of(found["status"], filled).value, filled)
            if found is None and not doubt:
                settled = self.resolve(order_id, symbol)
                if settled.outcome is not Outcome.CONFIRMED:
                    never = settled.outcome is Outcome.REJECTED
                    return Answer(order_id, Outcome.CONFIRMED if never else Outcome.UNRESOLVED, settled.detail)
            if self._clock.seconds() - began >= self._window_s:
                return Answer(order_id, Outcome.UNRESOLVED, problem or doubt or "still open")
            self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def tracked(self, order_id: str) -> Tracked | None:
        """What is known of an order; None when it was neither sent nor found."""
        return self._known.get(order_id)

    def _post(self, order: Order) -> Answer:
        import ccxt

        # ccxt keeps the last answer it read; without this, an order that got none would seem to have the answer before it.
        self._exchange.last_http_response = None
        try:
            reply = self._exchange.create_order(*arguments_of(order))
        except ccxt.BaseError as error:
            return outcome_of_error(order.order_id, error, self._exchange.last_http_response)
        # Half an answer can break a parser in any way; whatever it was, the order was sent.
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, OSError) as error:
            return outcome_of_error(order.order_id, error, None)
        return outcome_of_reply(order.order_id, reply)

    def _executed(self, order_id: str, symbol: str, found: Mapping[str, Any]) -> tuple[Decimal, tuple[Fill, ...]]:
        """What an order says was filled, and its trades."""
        filled = number(found["filled"], "the filled quantity")
        if not filled:
            return filled, ()
        with asking(f"the trades of {order_id}"):
            trades = self._exchange.fetch_my_trades(symbol, None, None, {"orderId": found["id"]})
        return filled, tuple(fill_of(order_id, self._instruments[symbol], trade) for trade in trades if trade["order"] == found["id"])

    def _ask(self, order_id: str, symbol: str) -> tuple[Any, str]:
        """The order as the exchange knows it; None and nothing when it says there is none, None and the problem when it said nothing."""
        import ccxt

        try:
            found = self._exchange.fetch_order("", symbol, {"origClientOrderId": order_id})
        except ccxt.OrderNotFound:
            return None, ""
        except ccxt.BaseError as error:
            return None, f"{type(error).__name__}: {error}"
        return (found, "") if found.get("id") else (None, "an answer without an order")

    def _traces(self, order_id: str, symbol: str) -> bool:
        """Whether the open orders or the newest trades know an order that the exchange did not find by its id. No answer counts as a trace."""
        import ccxt

        try:
            orders = self._exchange.fetch_open_orders(symbol)
            if any(order_id == order.get("clientOrderId") for order in orders):
                return True
            ours = {tracked.venue_id for tracked in self._known.values()}
            strangers = {trade["order"] for trade in self._exchange.fetch_my_trades(symbol, None, 20)} - ours
            return any(order_id == self._exchange.fetch_order(stranger, symbol).get("clientOrderId") for stranger in sorted(strangers))
        except ccxt.BaseError:
            return True

    def _remember(self, order_id: str, symbol: str, found: Mapping[str, Any]) -> None:
        tracked = self._known.setdefault(order_id, Tracked(order_found(order_id, symbol, found), OrderState.UNRESOLVED))
        if tracked.state is OrderState.UNRESOLVED:
            tracked.move(OrderState.WORKING)
        tracked.venue_id = str(found["id"])

    def _bury(self, order_id: str) -> None:
        self._absent.add(order_id)
        if order_id in self._known:
            self._known[order_id].move(OrderState.REJECTED)
