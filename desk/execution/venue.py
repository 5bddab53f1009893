"""The port to anything that executes orders: the simulated venue and the exchange venue implement it and pass one conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from desk.events import Approved, BarsClosed, Fill


class Outcome(StrEnum):
    """What is known of a submission. Only an explicit allow-list counts as rejected; all else is unresolved."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Answer:
    """The venue's answer to one submission."""

    order_id: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Venue truth: total balances by currency, and every order of ours still open (client order ids)."""

    balances: dict[str, Decimal]
    open_orders: tuple[str, ...]


class Venue(Protocol):
    """Executes approved orders and reports fills."""

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Send orders, sells first. Idempotent in the order id: the same order submitted again is the same order."""

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Every execution up to this event that was not reported before; called first in each step."""

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Ask what became of an order whose outcome is not known."""

    def cancel_open(self, at: datetime) -> None:
        """Cancel every open order of ours."""

    def account(self) -> Account:
        """Balances and open orders as the venue sees them."""
