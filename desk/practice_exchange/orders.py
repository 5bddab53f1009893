"""Orders, lists of orders and executions as the exchange keeps them. All amounts are Decimal, all times market milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

from configs.vocabulary import Side

ZERO = Decimal(0)
NO_LIST = -1


class Kind(StrEnum):
    """What an order asks for."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    POST_ONLY = "LIMIT_MAKER"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"

    @property
    def conditional(self) -> bool:
        """Whether it sleeps until the market reaches its trigger."""
        return self not in (Kind.MARKET, Kind.LIMIT, Kind.POST_ONLY)

    @property
    def priced(self) -> bool:
        """Whether it names a limit price."""
        return self not in (Kind.MARKET, Kind.STOP_LOSS, Kind.TAKE_PROFIT)

    @property
    def timed(self) -> bool:
        """Whether it names a time in force."""
        return self.priced and self is not Kind.POST_ONLY


class Life(StrEnum):
    """How long an order wants to live."""

    UNTIL_CANCELLED = "GTC"
    NOW_OR_NEVER = "IOC"
    ALL_OR_NOTHING = "FOK"


class Status(StrEnum):
    """Where an order stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as it is handed in. Exactly one of `quantity` (base) and `quote_quantity` is not 0; orders without a limit have price 0.

    `stop_price` is the trigger of a conditional order, or where trailing begins; `trailing_bips` how far the trigger trails; `iceberg` the part shown.
    """

    symbol: str
    side: Side
    kind: Kind
    life: Life
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    client_id: str
    stop_price: Decimal = ZERO
    trailing_bips: int = 0
    iceberg: Decimal = ZERO


@dataclass(slots=True)
class Order:
    """An accepted order. `reserved` is what the ledger still holds locked for it.

    A conditional order does not work (`working` False) until it is triggered; `reference` is the extreme that a trailing trigger follows (0: not
    yet begun); `ahead` is what of the background flow stands before it at its price, base units.
    """

    id: int
    client_id: str
    symbol: str
    side: Side
    kind: Kind
    life: Life
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    accepted_ms: int
    updated_ms: int
    status: Status = Status.NEW
    filled: Decimal = ZERO
    filled_quote: Decimal = ZERO
    reserved: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_bips: int = 0
    iceberg: Decimal = ZERO
    list_id: int = NO_LIST
    working: bool = True
    working_ms: int = -1
    reference: Decimal = ZERO
    ahead: Decimal = ZERO

    @property
    def open(self) -> bool:
        """Whether it can still fill."""
        return self.status in (Status.NEW, Status.PARTIALLY_FILLED)

    @property
    def remaining(self) -> Decimal:
        """Base quantity still to fill."""
        return self.quantity - self.filled


@dataclass(slots=True)
class OrderList:
    """One-cancels-the-other: two orders of which one may fill. `done`: neither can any more."""

    id: int
    client_id: str
    symbol: str
    order_ids: tuple[int, ...]
    at_ms: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """One trade of ours."""

    id: int
    order_id: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: str
    at_ms: int
    maker: bool

    @property
    def quote(self) -> Decimal:
        """What it was worth."""
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that came in (amount > 0) or went out (< 0) of the account."""

    id: int
    asset: str
    amount: Decimal
    at_ms: int


def row_of(value: Order | Execution | OrderList | Transfer) -> dict[str, Any]:
    """The fields as JSON can keep them, exact."""
    return {name: str(item) if isinstance(item := getattr(value, name), Decimal) else item for name in value.__slots__}


def copied(order: Order) -> Order:
    """The order as it is now."""
    return Order(*_FIELDS(order))


# Twenty-four fields, several times for each order: one call that does not return to Python between them.
_FIELDS = attrgetter(*Order.__slots__)


ORDER_AMOUNTS = ("quantity", "quote_quantity", "price", "filled", "filled_quote", "reserved", "stop_price", "iceberg", "reference", "ahead")
EXECUTION_AMOUNTS = ("quantity", "price", "commission")


def order_of(row: dict[str, Any]) -> Order:
    """The inverse of `row_of` for an order; fields that an older journal does not have take their defaults."""
    words = {"side": Side(row["side"]), "kind": Kind(row["kind"]), "life": Life(row["life"]), "status": Status(row["status"])}
    return Order(**{**row, **words, **{name: Decimal(row[name]) for name in ORDER_AMOUNTS if name in row}})


def execution_of(row: dict[str, Any]) -> Execution:
    """The inverse of `row_of` for an execution."""
    return Execution(**{**row, "side": Side(row["side"]), **{name: Decimal(row[name]) for name in EXECUTION_AMOUNTS}})


def list_of(row: dict[str, Any]) -> OrderList:
    """The inverse of `row_of` for a list of orders."""
    return OrderList(**{**row, "order_ids": tuple(row["order_ids"])})


def transfer_of(row: dict[str, Any]) -> Transfer:
    """The inverse of `row_of` for a transfer."""
    return Transfer(**{**row, "amount": Decimal(row["amount"])})
