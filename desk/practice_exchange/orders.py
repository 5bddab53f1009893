"""Orders and their executions as the exchange keeps them. All amounts are Decimal, all times market milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from configs.vocabulary import Side

ZERO = Decimal(0)


class Kind(StrEnum):
    """What an order asks for."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    POST_ONLY = "LIMIT_MAKER"


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


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as it is handed in. Exactly one of `quantity` (base) and `quote_quantity` is not 0; market orders have price 0."""

    symbol: str
    side: Side
    kind: Kind
    life: Life
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    client_id: str


@dataclass(slots=True)
class Order:
    """An accepted order. `reserved` is what the ledger still holds locked for it."""

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

    @property
    def open(self) -> bool:
        """Whether it can still fill."""
        return self.status in (Status.NEW, Status.PARTIALLY_FILLED)

    @property
    def remaining(self) -> Decimal:
        """Base quantity still to fill."""
        return self.quantity - self.filled


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


def row_of(value: Order | Execution) -> dict[str, Any]:
    """The fields as JSON can keep them, exact."""
    raw = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: str(item) if isinstance(item, Decimal) else item for name, item in raw.items()}


ORDER_AMOUNTS = ("quantity", "quote_quantity", "price", "filled", "filled_quote", "reserved")
EXECUTION_AMOUNTS = ("quantity", "price", "commission")


def order_of(row: dict[str, Any]) -> Order:
    """The inverse of `row_of` for an order."""
    words = {"side": Side(row["side"]), "kind": Kind(row["kind"]), "life": Life(row["life"]), "status": Status(row["status"])}
    return Order(**{**row, **words, **{name: Decimal(row[name]) for name in ORDER_AMOUNTS}})


def execution_of(row: dict[str, Any]) -> Execution:
    """The inverse of `row_of` for an execution."""
    return Execution(**{**row, "side": Side(row["side"]), **{name: Decimal(row[name]) for name in EXECUTION_AMOUNTS}})
