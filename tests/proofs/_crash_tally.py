"""What runs of the crash proof came to, and the one form in which executions of both sides are compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass
class Tally:
    """What one run, or many, came to."""

    runs: int = 0
    kills: int = 0
    orders: int = 0
    fills: int = 0
    stops: int = 0
    duplicates: int = 0
    lost_fills: int = 0
    unequal_books: int = 0
    strange: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Sum up."""
        for name in ("runs", "kills", "stops", "orders", "fills", "duplicates", "lost_fills", "unequal_books"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.strange += other.strange
        self.recoveries += other.recoveries
        self.hits += other.hits


def booked(fills: tuple[Any, ...]) -> set[tuple[str, str, Decimal, Decimal]]:
    """What identifies executions."""
    return {(fill.order_id, fill.trade_id, fill.quantity, fill.price) for fill in fills}


def raw(rows: list[list[str]]) -> set[tuple[str, str, Decimal, Decimal]]:
    """The same of rows as the journal writes them."""
    return {(row[0], row[1], Decimal(row[4]), Decimal(row[5])) for row in rows}
