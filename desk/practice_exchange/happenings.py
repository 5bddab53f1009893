"""What a transaction changes, and what the world hears of it once it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import Execution, Order, OrderList, Transfer, copied


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """Something happened to an order: "NEW", "TRADE" (with its execution), "CANCELED", "EXPIRED" or "EXPIRED_IN_MATCH"."""

    order: Order
    what: str
    execution: Execution | None


@dataclass(frozen=True, slots=True)
class ListChanged:
    """A list of orders began, or all of it is done."""

    orders: OrderList
    legs: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class BalancesChanged:
    """These assets have new balances."""

    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BalanceMoved:
    """Money came in from outside (amount > 0), or went out."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class BoundaryReached:
    """Bars closed, and the next ones opened, at this instant."""

    now_ms: int


Happening = OrderChanged | ListChanged | BalancesChanged | BalanceMoved | BoundaryReached


@dataclass(slots=True)
class Transaction:
    """What one request or one boundary changes, collected until it is written."""

    orders: dict[int, Order] = field(default_factory=dict)
    lists: dict[int, OrderList] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)
    told: list[Happening] = field(default_factory=list)

    def tell(self, order: Order, listing: Listing, what: str, execution: Execution | None = None) -> None:
        """Keep a change of an order for the journal and for those who listen."""
        self.orders[order.id] = order
        self.assets |= {listing.base, listing.quote}
        if execution is not None:
            self.executions.append(execution)
            self.assets.add(execution.commission_asset)
        # A copy: the order goes on changing before anybody hears of this.
        self.told.append(OrderChanged(copied(order), what, execution))
