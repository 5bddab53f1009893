"""Orders on a real exchange, through a ccxt exchange object that is handed in.

A submission has an outcome, not an exception. Confirmed is an order with an id; rejected is what a short list of answers proves; all
else is unresolved and is settled by asking. Executions are asked for order by order, so nothing foreign is ever booked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from configs.vocabulary import Side
from desk.clock import WallClock
from desk.errors import GateClosed, VenueBusy
from desk.events import Approved, BarsClosed, Fill, Order
from desk.execution.order import ID_PREFIX
from desk.execution.venue import Account, Answer, Outcome
from desk.instruments import Instrument
from desk.market.wire_errors import asking
from desk.security.arming import ArmedLease

# Binance codes that prove an order was not accepted whatever class ccxt gives them: filter failure, and a timestamp outside the window.
PROVEN_REFUSALS = (-1013, -1021)
# Consecutive clean answers "no such order" needed, besides the time in which a late request could still be accepted.
NOT_FOUND_ANSWERS = 3
# Beyond the receive window: for the way there and back.
WIRE_MARGIN_S = 1.0
POLLS_PER_WINDOW = 10
TERMINAL = ("closed", "canceled", "expired", "rejected")


class ExchangeVenue:
    """Implements `Venue` with market orders named by our own ids. `exchange` has its markets loaded; `bar` is how long an order may live."""

    def __init__(self, exchange: Any, instruments: Mapping[str, Instrument], *, clock: WallClock, lease: ArmedLease, bar: timedelta) -> None:
        self._exchange = exchange
        self._instruments = dict(instruments)
        self._clock = clock
        self._lease = lease
        self._bar = bar
        self._window_s = float(exchange.options["recvWindow"]) / 1000 + WIRE_MARGIN_S
        self._working: dict[str, str] = {}
        self._known: set[str] = set()

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Send the orders one after the other, in the order given, which has the sells first."""
        if not orders:
            return ()
        with asking("the exchange's time"):
            market_now = datetime.fromtimestamp(self._exchange.fetch_time() / 1000, UTC)
        return tuple(self._submit(approved.order, market_now) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Every execution of the orders sent since the last call: exchanges execute market orders at once, the event adds nothing."""
        return self.executions()

    def executions(self) -> tuple[Fill, ...]:
        """Wait until every order sent has ended, then report what it executed. Nothing is forgotten when asking fails."""
        executed = [fill for order_id, symbol in self._working.items() for fill in self._executed(order_id, symbol)]
        self._working.clear()
        return tuple(executed)

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Ask by our id until it is found, or until it can no longer appear: time up, and several clean answers that it does not exist."""
        import ccxt

        deadline = self._clock.seconds() + self._window_s
        not_found, detail = 0, "no answer"
        while True:
            try:
                found = self._exchange.fetch_order("", symbol, {"origClientOrderId": order_id})
                self._remember(order_id, symbol)
                return Answer(order_id, Outcome.CONFIRMED, str(found["id"]))
            except ccxt.OrderNotFound:
                not_found += 1
            except ccxt.BaseError as error:
                detail = f"{type(error).__name__}: {error}"
            if self._clock.seconds() >= deadline:
                if not_found >= NOT_FOUND_ANSWERS:
                    return Answer(order_id, Outcome.REJECTED, f"never arrived: {not_found} times not found")
                return Answer(order_id, Outcome.UNRESOLVED, detail)
            self._clock.wait(self._window_s / POLLS_PER_WINDOW)

    def cancel_open(self, at: datetime) -> None:
        """Cancel what is open and ours. An order that is gone already is what was wanted."""
        import ccxt

        for symbol, order_id in self._open_orders():
            with asking(f"the cancellation of {order_id}"):
                try:
                    self._exchange.cancel_order("", symbol, {"origClientOrderId": order_id})
                except ccxt.OrderNotFound:
                    continue

    def account(self) -> Account:
        """Total balances and our open orders."""
        with asking("our balances"):
            totals = self._exchange.fetch_balance()["total"]
        balances = {asset: Decimal(str(amount)) for asset, amount in totals.items()}
        return Account(balances, tuple(order_id for _, order_id in self._open_orders()))

    def _submit(self, order: Order, market_now: datetime) -> Answer:
        import ccxt

        if order.order_id in self._known:
            return Answer(order.order_id, Outcome.CONFIRMED, "sent before")
        refusal = self._refusal(order, market_now)
        if refusal:
            return Answer(order.order_id, Outcome.REJECTED, refusal)
        # ccxt keeps the last answer it read; without this, an order that got none would seem to have the answer before it.
        self._exchange.last_http_response = None
        try:
            # No price: with one, ccxt turns a market buy into an amount of quote currency.
            params = {"newClientOrderId": order.order_id}
            reply = self._exchange.create_order(order.symbol, "market", order.side.value, str(order.quantity), None, params)
        except ccxt.BaseError as error:
            outcome = Outcome.REJECTED if proves_refusal(error, self._exchange.last_http_response) else Outcome.UNRESOLVED
            return Answer(order.order_id, outcome, f"{type(error).__name__}: {error}")
        if not reply.get("id"):
            return Answer(order.order_id, Outcome.UNRESOLVED, "an answer without an order")
        self._remember(order.order_id, order.symbol)
        return Answer(order.order_id, Outcome.CONFIRMED, str(reply["id"]))

    def _refusal(self, order: Order, market_now: datetime) -> str:
        """Why this order must not leave the house; empty when it may."""
        if not order.quantity.is_finite() or order.quantity <= 0:
            return f"quantity {order.quantity} is not a positive number"
        try:
            self._lease.check(self._clock.now())
        except GateClosed as error:
            return str(error)
        if market_now >= order.decided_at + self._bar:
            return f"decided at {order.decided_at.isoformat()}, its bar was over at {market_now.isoformat()}"
        return ""

    def _executed(self, order_id: str, symbol: str) -> list[Fill]:
        """Trades of one order, complete: the order ended, and its trades add up to what it says was filled."""
        deadline = self._clock.seconds() + self._window_s
        while True:
            with asking(f"the executions of {order_id}"):
                order = self._exchange.fetch_order("", symbol, {"origClientOrderId": order_id})
                trades = self._exchange.fetch_my_trades(symbol, None, None, {"orderId": order["id"]})
            ours = [self._fill(order_id, symbol, trade) for trade in trades if trade["order"] == order["id"]]
            filled = Decimal(str(order["filled"]))
            if order["status"] in TERMINAL and sum((fill.quantity for fill in ours), Decimal(0)) == filled:
                return ours
            if self._clock.seconds() >= deadline:
                raise VenueBusy(f"expected {order_id} to end with trades of {filled}, found status {order['status']} and {len(ours)} trades: start again")
            self._clock.wait(self._window_s / POLLS_PER_WINDOW)

    def _fill(self, order_id: str, symbol: str, trade: Mapping[str, Any]) -> Fill:
        fee = trade.get("fee") or {"cost": 0, "currency": self._instruments[symbol].quote}
        amounts = (Decimal(str(trade["amount"])), Decimal(str(trade["price"])), Decimal(str(fee["cost"])))
        at = datetime.fromtimestamp(trade["timestamp"] / 1000, UTC)
        return Fill(order_id, str(trade["id"]), symbol, Side(trade["side"]), *amounts, str(fee["currency"]), at)

    def _open_orders(self) -> list[tuple[str, str]]:
        found = []
        for symbol in self._instruments:
            with asking(f"the open orders of {symbol}"):
                orders = self._exchange.fetch_open_orders(symbol)
            found += [(symbol, str(order["clientOrderId"])) for order in orders if str(order["clientOrderId"]).startswith(ID_PREFIX)]
        return found

    def _remember(self, order_id: str, symbol: str) -> None:
        self._known.add(order_id)
        self._working[order_id] = symbol


def proves_refusal(error: Exception, response: str | None) -> bool:
    """Whether an error proves that no order exists: a class or code of the allow-list, and an answer with the exchange's own {code, msg}.

    "Duplicate order" is never a refusal: it means that there is one. Source: measured with ccxt against Binance's documented answers.
    """
    import ccxt

    body = _refusal_in(response)
    if body is None or "duplicate" in str(body["msg"]).lower() or isinstance(error, (ccxt.OrderNotFound, ccxt.DuplicateOrderId)):
        return False
    refusals = (
        ccxt.InvalidOrder,
        ccxt.InsufficientFunds,
        ccxt.BadSymbol,
        ccxt.MarketClosed,
        ccxt.AuthenticationError,
        ccxt.DDoSProtection,
        ccxt.RateLimitExceeded,
    )
    return isinstance(error, refusals) or body["code"] in PROVEN_REFUSALS


def _refusal_in(response: str | None) -> dict[str, Any] | None:
    """The JSON of an answer, if it is a refusal: a code and a message."""
    try:
        body = json.loads(response or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) and "code" in body and "msg" in body else None
