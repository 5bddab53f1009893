"""The account's orders: accepted, looked up, in time order. A client order id is unique among open orders only, as on Binance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from desk.practice_exchange.orders import NO_LIST, Execution, Order, OrderList, Ticket
from desk.practice_exchange.refusals import DuplicateOrder

FIRST_ID = 1


class Book:
    """Every order and list ever accepted and every execution, in order of their ids."""

    def __init__(self, orders: Iterable[Order], executions: Sequence[Execution], lists: Iterable[OrderList] = ()) -> None:
        self._orders: dict[int, Order] = {}
        self._open: dict[int, Order] = {}
        self._open_clients: set[str] = set()
        self._newest: dict[tuple[str, str], Order] = {}
        self._by_order: dict[int, list[Execution]] = {}
        self.executions: list[Execution] = []
        self.lists = {each.id: each for each in lists}
        for order in orders:
            self.enter(order)
            self.settle(order)
        for execution in executions:
            self.record(execution)

    def accept(self, ticket: Ticket, now_ms: int, *, after: int = 0) -> Order:
        """Make an order of a ticket, `after` so many others that are not entered yet. Raises DuplicateOrder while an open order has the client id."""
        if ticket.client_id in self._open_clients:
            raise DuplicateOrder
        order_id = next(reversed(self._orders), FIRST_ID - 1) + 1 + after
        amounts = (ticket.quantity, ticket.quote_quantity, ticket.price)
        order = Order(order_id, ticket.client_id, ticket.symbol, ticket.side, ticket.kind, ticket.life, *amounts, now_ms, now_ms)
        order.stop_price, order.trailing_bips, order.iceberg = ticket.stop_price, ticket.trailing_bips, ticket.iceberg
        order.working = not ticket.kind.conditional
        order.working_ms = now_ms if order.working else -1
        return order

    def enter(self, order: Order) -> None:
        """Put an accepted order into the book."""
        self._orders[order.id] = order
        self._open[order.id] = order
        self._open_clients.add(order.client_id)
        self._newest[order.symbol, order.client_id] = order

    def record(self, execution: Execution) -> None:
        """Keep an execution."""
        self.executions.append(execution)
        self._by_order.setdefault(execution.order_id, []).append(execution)

    def settle(self, order: Order) -> None:
        """Take an order that has ended off the open ones."""
        if not order.open and self._open.pop(order.id, None) is not None:
            self._open_clients.discard(order.client_id)

    def executions_of(self, order: Order) -> list[Execution]:
        """The executions of one order, oldest first."""
        return self._by_order.get(order.id, [])

    def orders(self, symbol: str | None = None) -> list[Order]:
        """Every order ever accepted, oldest first; of one symbol when named."""
        return [order for order in self._orders.values() if symbol in (None, order.symbol)]

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Orders that can still fill, oldest first."""
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def asleep(self, symbol: str) -> list[Order]:
        """Open orders that wait for their trigger, oldest first."""
        return [order for order in self._open.values() if order.symbol == symbol and not order.working]

    def by_id(self, order_id: int) -> Order:
        """An order that exists."""
        return self._orders[order_id]

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """The order of this id, or else the newest of this client id."""
        if order_id is not None:
            order = self._orders.get(order_id)
            return order if order is not None and order.symbol == symbol and client_id in (None, order.client_id) else None
        return self._newest.get((symbol, client_id or ""))

    def begin_list(self, symbol: str, client_id: str, legs: Sequence[Order], now_ms: int) -> OrderList:
        """Bind orders that were accepted into a list."""
        if any(each.client_id == client_id and not each.done for each in self.lists.values()):
            raise DuplicateOrder
        begun = OrderList(next(reversed(self.lists), FIRST_ID - 1) + 1, client_id, symbol, tuple(leg.id for leg in legs), now_ms)
        for leg in legs:
            leg.list_id = begun.id
        self.lists[begun.id] = begun
        return begun

    def legs(self, orders: OrderList) -> tuple[Order, ...]:
        """The orders of a list."""
        return tuple(self._orders[number] for number in orders.order_ids)

    def siblings(self, order: Order) -> list[Order]:
        """The open orders that are bound to this one."""
        if order.list_id == NO_LIST:
            return []
        return [leg for leg in self.legs(self.lists[order.list_id]) if leg is not order and leg.open]

    @property
    def next_execution(self) -> int:
        """The id of the next execution."""
        return self.executions[-1].id + 1 if self.executions else FIRST_ID
