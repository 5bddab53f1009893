"""The life of an order on an exchange: ten states, the moves between them, and nothing else.

A state is what is known, not what is hoped: an order in doubt is unresolved until the exchange says what became of it. Executions are counted
here once per trade, and never beyond the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from desk.errors import BookMismatch
from desk.events import Order


class OrderState(StrEnum):
    """What is known of an order."""

    INTENDED = "intended"
    IN_FLIGHT = "in_flight"
    UNRESOLVED = "unresolved"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


_ENDS = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED})
_LIVES = frozenset({OrderState.WORKING, OrderState.PARTIALLY_FILLED})

# A partial fill may be followed by the next one; a cancellation may be lost, and the order found alive or ended by itself. Only what was
# never accepted can be rejected, and an end is an end.
MOVES: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.INTENDED: frozenset({OrderState.IN_FLIGHT, OrderState.UNRESOLVED, OrderState.REJECTED}),
    OrderState.IN_FLIGHT: _LIVES | _ENDS | {OrderState.UNRESOLVED, OrderState.REJECTED},
    OrderState.UNRESOLVED: _LIVES | _ENDS | {OrderState.UNRESOLVED, OrderState.REJECTED},
    OrderState.WORKING: _LIVES | _ENDS | {OrderState.CANCELLING},
    OrderState.PARTIALLY_FILLED: _ENDS | {OrderState.PARTIALLY_FILLED, OrderState.CANCELLING},
    OrderState.CANCELLING: _LIVES | _ENDS | {OrderState.CANCELLING},
    OrderState.FILLED: frozenset({OrderState.FILLED}),
    OrderState.CANCELLED: frozenset({OrderState.CANCELLED}),
    OrderState.EXPIRED: frozenset({OrderState.EXPIRED}),
    OrderState.REJECTED: frozenset({OrderState.REJECTED}),
}
_BY_STATUS = {
    "open": OrderState.WORKING,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}


def state_of(status: str | None, filled: Decimal) -> OrderState:
    """The state that an exchange's answer means: ccxt's word for the status, and how much was filled (base)."""
    state = _BY_STATUS.get(status or "")
    if state is None:
        raise BookMismatch(f"expected a status of {', '.join(_BY_STATUS)}, found {status!r}: this exchange speaks another language")
    return OrderState.PARTIALLY_FILLED if state is OrderState.WORKING and filled > 0 else state


@dataclass(slots=True)
class Tracked:
    """One order and what is known of it. `venue_id` is empty until the exchange gave one."""

    order: Order
    state: OrderState = OrderState.INTENDED
    venue_id: str = ""
    filled: Decimal = Decimal(0)
    trades: set[str] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state in _ENDS or self.state is OrderState.REJECTED

    @property
    def remaining(self) -> Decimal:
        """Quantity (base) that was not executed."""
        return self.order.quantity - self.filled

    def move(self, to: OrderState) -> None:
        """Go to `to`; `BookMismatch` when no order can."""
        if to not in MOVES[self.state]:
            allowed = ", ".join(sorted(MOVES[self.state]))
            raise BookMismatch(f"expected {self.order.order_id} to go from {self.state} to {allowed}, found {to}: compare the venue's orders by hand")
        self.state = to

    def count(self, trade_id: str, quantity: Decimal) -> bool:
        """Add an execution (base). False when it was counted before. `BookMismatch` when more was executed than ordered."""
        if trade_id in self.trades:
            return False
        if self.filled + quantity > self.order.quantity:
            total = self.filled + quantity
            raise BookMismatch(f"expected at most {self.order.quantity} of {self.order.order_id}, found {total} executed: compare the venue's trades by hand")
        self.trades.add(trade_id)
        self.filled += quantity
        return True
