"""The trading routes of Binance spot: orders, lists of orders, replacements, executions and the account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desk.practice_exchange.dialects.binance import orders
from desk.practice_exchange.dialects.binance.errors import WireError, forbidden, malformed, missing, replace_failed, translated
from desk.practice_exchange.dialects.binance.filters import check_room, client_id, ticket
from desk.practice_exchange.dialects.binance.routes import Directory, Parameters, Route, always, integer, one_or_all, page, range_of
from desk.practice_exchange.dialects.binance.weights import ORDER_WINDOW_S, WeightCounter
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.orders import Order, OrderList, Ticket
from desk.practice_exchange.refusals import DuplicateOrder, Refusal

RESPONSES = ("ACK", "RESULT", "FULL")
STOP_ON_FAILURE, ALLOW_FAILURE = "STOP_ON_FAILURE", "ALLOW_FAILURE"
# Which kinds of order may stand on which side of the market in a list.
LIST_KINDS = {
    ("SELL", "above"): ("LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
    ("SELL", "below"): ("STOP_LOSS", "STOP_LOSS_LIMIT"),
    ("BUY", "above"): ("STOP_LOSS", "STOP_LOSS_LIMIT"),
    ("BUY", "below"): ("LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
}
LEG_PARAMETERS = {"Type": "type", "Price": "price", "StopPrice": "stopPrice", "TimeInForce": "timeInForce", "ClientOrderId": "newClientOrderId"}


class Trading:
    """The account's side of the counter."""

    def __init__(self, exchange: Exchange, directory: Directory, counter: WeightCounter) -> None:
        self._exchange = exchange
        self._directory = directory
        self._counter = counter

    def routes(self) -> dict[tuple[str, str], Route]:
        """Keyed by (method, path)."""
        table: list[tuple[str, str, Callable[[Parameters], Any], Callable[[Parameters], int]]] = [
            ("POST", "order", self.place, always(1)),
            ("POST", "order/test", self.try_place, always(1)),
            ("POST", "order/cancelReplace", self.replace, always(1)),
            ("GET", "order", self.order, always(4)),
            ("DELETE", "order", self.cancel, always(1)),
            ("POST", "orderList/oco", self.place_list, always(1)),
            ("GET", "orderList", self.order_list, always(4)),
            ("DELETE", "orderList", self.cancel_list, always(1)),
            ("GET", "allOrderList", self.all_lists, always(20)),
            ("GET", "openOrderList", self.open_lists, always(6)),
            ("GET", "openOrders", self.open_orders, one_or_all(6, 80)),
            ("DELETE", "openOrders", self.cancel_all, always(1)),
            ("GET", "allOrders", self.all_orders, always(20)),
            ("GET", "myTrades", self.my_trades, lambda given: 5 if "orderId" in given else 20),
            ("GET", "account", self.account, always(20)),
            ("GET", "account/commission", self.commission, always(20)),
            ("GET", "rateLimit/order", self.order_counts, always(40)),
        ]
        return {(method, f"/api/v3/{path}"): Route(handler, weight, signed=True) for method, path, handler, weight in table}

    def place(self, given: Parameters) -> Any:
        """A new order."""
        symbol = self._directory.symbol(given)
        wanted = self._wanted(symbol, given)
        self._admit([wanted])
        return self._answer(given, self._done(lambda: self._exchange.place(wanted)))

    def try_place(self, given: Parameters) -> Any:
        """Whether an order would be accepted; nothing is placed."""
        wanted = self._wanted(self._directory.symbol(given), given)
        self._may_trade()
        check_room([wanted], self._exchange.book.open_orders(wanted.symbol))
        self._done(lambda: self._exchange.place(wanted, dry=True))
        return {}

    def replace(self, given: Parameters) -> Any:
        """Cancel an order and place another. The new one's parameters are judged first; then each half may fail by itself."""
        mode = given.get("cancelReplaceMode", "")
        if not mode:
            raise missing("cancelReplaceMode")
        if mode not in (STOP_ON_FAILURE, ALLOW_FAILURE):
            raise malformed("cancelReplaceMode", f"^({STOP_ON_FAILURE}|{ALLOW_FAILURE})$")
        wanted = self._wanted(self._directory.symbol(given), given)
        names = {"orderId": "cancelOrderId", "origClientOrderId": "cancelOrigClientOrderId", "newClientOrderId": "cancelNewClientOrderId"}
        cancelled = self._tried(lambda: self.cancel({"symbol": given["symbol"], **{to: given[of] for to, of in names.items() if of in given}}))
        if isinstance(cancelled, WireError) and mode == STOP_ON_FAILURE:
            data = {"cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED", "cancelResponse": cancelled.body, "newOrderResponse": None}
            raise replace_failed(data, partially=False)
        placed = self._tried(lambda: self._place_again(given, wanted))
        failed = [isinstance(answer, WireError) for answer in (cancelled, placed)]
        results = dict(zip(("cancelResult", "newOrderResult"), ("FAILURE" if bad else "SUCCESS" for bad in failed), strict=True))
        bodies = [answer.body if isinstance(answer, WireError) else answer for answer in (cancelled, placed)]
        data = {**results, "cancelResponse": bodies[0], "newOrderResponse": bodies[1]}
        if any(failed):
            raise replace_failed(data, partially=not all(failed))
        return data

    def order(self, given: Parameters) -> Any:
        """One order, by either id."""
        found = self._find(given)
        if found is None:
            raise WireError(-2013, "Order does not exist.")
        return self._payload(found)

    def cancel(self, given: Parameters) -> Any:
        """End an open order, and its list."""
        return self._cancelled(self._find(given), client_id(given, "newClientOrderId"))

    def cancel_all(self, given: Parameters) -> Any:
        """End every open order of a symbol; a list is told as one."""
        found = self._exchange.book.open_orders(self._directory.symbol(given))
        if not found:
            raise WireError(-2011, "Unknown order sent.")
        answers = []
        for order in found:
            if order.open:
                own = self._exchange.book.lists.get(order.list_id)
                answer = self._cancelled(order, client_id({}, "newClientOrderId"))
                answers.append(answer if own is None else self._list_payload(own, reports=True))
        return answers

    def open_orders(self, given: Parameters) -> Any:
        """Orders that can still fill, of one symbol or of all."""
        symbol = self._directory.symbol(given) if "symbol" in given else None
        return [self._payload(order) for order in self._exchange.book.open_orders(symbol)]

    def all_orders(self, given: Parameters) -> Any:
        """Orders of a symbol, whatever became of them."""
        asked, first = range_of(given), integer(given, "orderId")
        found = [order for order in self._exchange.book.orders(self._directory.symbol(given)) if asked.holds(order.accepted_ms) and order.id >= (first or 0)]
        return [self._payload(order) for order in page(found, asked.limit, forward=first is not None or asked.since_ms is not None)]

    def my_trades(self, given: Parameters) -> Any:
        """Our executions of a symbol."""
        symbol, asked, book = self._directory.symbol(given), range_of(given), self._exchange.book
        order_id, first = integer(given, "orderId"), integer(given, "fromId")
        ours = [each for each in book.executions if each.symbol == symbol and order_id in (None, each.order_id)]
        found = [each for each in ours if each.id >= (first or 0) and asked.holds(each.at_ms)]
        chosen = page(found, asked.limit, forward=first is not None or asked.since_ms is not None)
        return [orders.trade_payload(each, self._directory.listing(symbol), book.by_id(each.order_id).list_id) for each in chosen]

    def account(self, given: Parameters) -> Any:
        """Balances and rights."""
        return orders.account_payload(self._exchange.ledger.accounts, self._exchange.costs.fee_rate, self._exchange.terms, self._exchange.now_ms())

    def commission(self, given: Parameters) -> Any:
        """What a symbol's trades cost, and what paying in the exchange's coin saves."""
        symbol = self._directory.symbol(given)
        return orders.commission_payload(self._directory.listing(symbol), self._exchange.costs.fee_rate, self._exchange.terms)

    def order_counts(self, given: Parameters) -> Any:
        """How many new orders were sent in the current window."""
        window = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": ORDER_WINDOW_S}
        return [{**window, "limit": self._counter.order_limit, "count": self._counter.orders}]

    def place_list(self, given: Parameters) -> Any:
        """One-cancels-the-other: an order above the market and one below it."""
        symbol = self._directory.symbol(given)
        above, below = (self._wanted(symbol, _leg(given, side)) for side in ("above", "below"))
        if above.client_id == below.client_id:
            raise translated(DuplicateOrder())
        self._admit([above, below])
        name = client_id(given, "listClientOrderId")
        return self._list_payload(self._done(lambda: self._exchange.place_list(above, below, name)), reports=True)

    def order_list(self, given: Parameters) -> Any:
        """One list, by either id."""
        found = self._find_list(given, "origClientOrderId")
        if found is None:
            raise WireError(-2018, "Order list does not exist.")
        return self._list_payload(found)

    def cancel_list(self, given: Parameters) -> Any:
        """End every order of a list."""
        self._directory.symbol(given)
        found = self._find_list(given, "listClientOrderId")
        self._may_trade()
        return self._list_payload(self._done(lambda: self._exchange.cancel_list(found)), reports=True)

    def all_lists(self, given: Parameters) -> Any:
        """Lists, whatever became of them."""
        asked, first = range_of(given), integer(given, "fromId")
        found = [each for each in self._exchange.book.lists.values() if asked.holds(each.at_ms) and each.id >= (first or 0)]
        return [self._list_payload(each) for each in page(found, asked.limit, forward=first is not None or asked.since_ms is not None)]

    def open_lists(self, given: Parameters) -> Any:
        """Lists of which an order can still fill."""
        return [self._list_payload(each) for each in self._exchange.book.lists.values() if not each.done]

    def _wanted(self, symbol: str, given: Parameters) -> Ticket:
        if given.get("newOrderRespType", "FULL") not in RESPONSES:
            raise malformed("newOrderRespType", "^(ACK|RESULT|FULL)$")
        quote = self._exchange.quote(symbol)
        return ticket(given, self._directory.listing(symbol), quote.open if quote else None)

    def _may_trade(self) -> None:
        if not self._exchange.terms.trading:
            raise forbidden()

    def _admit(self, wanted: list[Ticket]) -> None:
        self._may_trade()
        self._counter.charge_orders(len(wanted), self._exchange.now_ms())
        check_room(wanted, self._exchange.book.open_orders(wanted[0].symbol))

    def _place_again(self, given: Parameters, wanted: Ticket) -> Any:
        self._admit([wanted])
        return self._answer(given, self._done(lambda: self._exchange.place(wanted)))

    def _done(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Refusal as refusal:
            raise translated(refusal) from refusal

    def _tried(self, act: Callable[[], Any]) -> Any:
        """An answer, or the error instead of raising it."""
        try:
            return act()
        except WireError as error:
            return error

    def _answer(self, given: Parameters, order: Order) -> Any:
        listing, kind = self._directory.listing(order.symbol), given.get("newOrderRespType", "FULL")
        if kind == "ACK":
            return orders.acknowledgement(order, listing)
        if kind == "RESULT":
            return orders.result(order, listing)
        return orders.full(order, listing, self._exchange.book.executions_of(order))

    def _payload(self, order: Order) -> Any:
        return orders.order_payload(order, self._directory.listing(order.symbol))

    def _list_payload(self, found: OrderList, *, reports: bool = False) -> Any:
        legs, listing = self._exchange.book.legs(found), self._directory.listing(found.symbol)
        payload = orders.list_payload(found, legs, listing)
        return {**payload, "orderReports": [orders.result(leg, listing) for leg in legs]} if reports else payload

    def _find(self, given: Parameters) -> Order | None:
        symbol, order_id, client = self._directory.symbol(given), integer(given, "orderId"), given.get("origClientOrderId")
        if order_id is None and not client:
            raise WireError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        return self._exchange.book.find(symbol, order_id, client or None)

    def _find_list(self, given: Parameters, name: str) -> OrderList | None:
        number, client, lists = integer(given, "orderListId"), given.get(name), self._exchange.book.lists
        if number is None and not client:
            raise WireError(-1102, f"Param '{name}' or 'orderListId' must be sent, but both were empty/null!")
        if number is not None:
            return lists.get(number)
        return next((each for each in reversed(lists.values()) if each.client_id == client), None)

    def _cancelled(self, order: Order | None, cancel_id: str) -> Any:
        self._may_trade()
        ended = self._done(lambda: self._exchange.cancel(order))
        return orders.cancellation(ended, self._directory.listing(ended.symbol), cancel_id)


def _leg(given: Parameters, side: str) -> Parameters:
    """The parameters of one order of a list, under the names that a single order has."""
    common = {name: given[name] for name in ("symbol", "side", "quantity") if name in given}
    leg = {name: given[f"{side}{suffix}"] for suffix, name in LEG_PARAMETERS.items() if f"{side}{suffix}" in given}
    if "type" not in leg:
        raise missing(f"{side}Type")
    if leg["type"] not in LIST_KINDS.get((given.get("side", ""), side), ()):
        raise WireError(-1116, "Invalid orderType.")
    return {**common, **leg}
