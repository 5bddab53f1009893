"""The account's orders: accepted, looked up, resting. A client order id is unique among open orders only, as on Binance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from configs.vocabulary import Side
from desk.practice_exchange.orders import Execution, Order, Ticket
from desk.practice_exchange.refusals import DuplicateOrder

FIRST_ID = 1


class Book:
    """Every order ever accepted and every execution, in order of their ids."""

    def __init__(self, orders: Iterable[Order], executions: Sequence[Execution]) -> None:
        self._orders = {order.id: order for order in orders}
        self.executions = list(executions)
        self._open = {order.id: order for order in self._orders.values() if order.open}
        self._by_order: dict[int, list[Execution]] = {}
        for execution in self.executions:
            self._by_order.setdefault(execution.order_id, []).append(execution)

    def accept(self, ticket: Ticket, now_ms: int) -> Order:
        """Make an order of a ticket. Raises DuplicateOrder while an open order has the same client id."""
        if any(order.client_id == ticket.client_id for order in self._open.values()):
            raise DuplicateOrder
        amounts = (ticket.quantity, ticket.quote_quantity, ticket.price)
        return Order(self._next_order, ticket.client_id, ticket.symbol, ticket.side, ticket.kind, ticket.life, *amounts, now_ms, now_ms)

    def enter(self, order: Order) -> None:
        """Put an accepted order into the book."""
        self._orders[order.id] = order
        self._open[order.id] = order

    def record(self, execution: Execution) -> None:
        """Keep an execution."""
        self.executions.append(execution)
        self._by_order.setdefault(execution.order_id, []).append(execution)

    def settle(self, order: Order) -> None:
        """Take an order that has ended off the open ones."""
        if not order.open:
            self._open.pop(order.id, None)

    def executions_of(self, order: Order) -> list[Execution]:
        """The executions of one order, oldest first."""
        return self._by_order.get(order.id, [])

    def orders(self, symbol: str | None = None) -> list[Order]:
        """Every order ever accepted, oldest first; of one symbol when named."""
        return [order for order in self._orders.values() if symbol in (None, order.symbol)]

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Orders that can still fill, oldest first."""
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def resting(self, symbol: str, side: Side) -> list[Order]:
        """Open orders of one side in price-time priority."""
        found = [order for order in self.open_orders(symbol) if order.side is side]
        return sorted(found, key=lambda order: (-side.sign * order.price, order.id))

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """The order of this id, or else the newest of this client id."""
        if order_id is not None:
            order = self._orders.get(order_id)
            return order if order is not None and order.symbol == symbol and client_id in (None, order.client_id) else None
        return next((order for order in reversed(self._orders.values()) if order.symbol == symbol and order.client_id == client_id), None)

    @property
    def _next_order(self) -> int:
        return next(reversed(self._orders), FIRST_ID - 1) + 1

    @property
    def next_execution(self) -> int:
        """The id of the next execution."""
        return self.executions[-1].id + 1 if self.executions else FIRST_ID
