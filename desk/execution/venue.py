"""The port to anything that executes orders: the simulated venue and the exchange venue implement it and pass one conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from desk.events import Approved, BarsClosed, Fill

# Begins the detail of a refused reducing order when what is held cannot be sold: dust, recorded and no alarm.
TOO_SMALL = "too small"


class Outcome(StrEnum):
    """What is known of a submission. Only an explicit allow-list counts as rejected; all else is unresolved."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Answer:
    """The venue's answer to one submission or cancellation. `filled`: what a cancelled order had executed when it ended (base)."""

    order_id: str
    outcome: Outcome
    detail: str = ""
    filled: Decimal = Decimal(0)


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

    def cancel(self, order_id: str, symbol: str) -> Answer:
        """Cancel one order until it is proven to have ended; the detail says how, and filled is a normal result."""

    def cancel_open(self, at: datetime) -> None:
        """Cancel every open order of ours."""

    def account(self) -> Account:
        """Balances and open orders as the venue sees them."""
