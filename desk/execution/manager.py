"""Sends what was approved, writes down what the venue answered, and asks before it believes that an order does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from desk.books.journal import Journal
from desk.errors import OrderUnresolved
from desk.events import Approved, Order
from desk.execution.venue import Answer, Outcome, Venue


class OrderManager:
    """Between the journal and a venue. Never sends an order again unless the venue proved that it does not have it."""

    def __init__(self, venue: Venue, journal: Journal) -> None:
        self._venue = venue
        self._journal = journal

    def cancel(self, orders: Sequence[Order], at: datetime) -> tuple[tuple[Order, Decimal], ...]:
        """Cancel resting orders, each until it is proven to have ended; with what each had executed by then (base)."""
        answers = [self._venue.cancel(order.order_id, order.symbol) for order in orders]
        self._refuse_doubt(answers)
        self._record(at, [Answer(answer.order_id, Outcome.CONFIRMED, f"cancel: {answer.detail}") for answer in answers])
        return tuple((order, answer.filled) for order, answer in zip(orders, answers, strict=True))

    def drop(self, orders: Sequence[Approved], at: datetime, why: str) -> None:
        """Write down that approved orders will not be sent."""
        self._record(at, [Answer(approved.order.order_id, Outcome.REJECTED, why) for approved in orders])

    def send(self, orders: Sequence[Approved], at: datetime) -> tuple[Answer, ...]:
        """Submit orders that the journal already holds, sells first, stops last, and say what became of each. An outcome the venue cannot settle
        raises `OrderUnresolved`.
        """
        if not orders:
            return ()
        symbols = {approved.order.order_id: approved.order.symbol for approved in orders}
        answers = self._venue.submit(orders)
        self._record(at, answers)
        doubtful = [answer for answer in answers if answer.outcome is Outcome.UNRESOLVED]
        settled = [self._venue.resolve(answer.order_id, symbols[answer.order_id]) for answer in doubtful]
        self._record(at, settled)
        self._refuse_doubt(settled)
        final = {answer.order_id: answer for answer in (*answers, *settled)}
        return tuple(final.values())

    def missing(self, pending: Sequence[Approved]) -> tuple[Approved, ...]:
        """After a restart: ask for every order that may be out there; those the venue proves it never had may be sent, under the id they have."""
        answers = [self._venue.resolve(approved.order.order_id, approved.order.symbol) for approved in pending]
        self._refuse_doubt(answers)
        return tuple(approved for approved, answer in zip(pending, answers, strict=True) if answer.outcome is Outcome.REJECTED)

    def _record(self, at: datetime, answers: Sequence[Answer]) -> None:
        self._journal.record_answers(at, [(answer.order_id, answer.outcome.value, answer.detail) for answer in answers])

    @staticmethod
    def _refuse_doubt(answers: Sequence[Answer]) -> None:
        doubtful = [answer for answer in answers if answer.outcome is Outcome.UNRESOLVED]
        if doubtful:
            named = "; ".join(f"{answer.order_id} ({answer.detail})" for answer in doubtful)
            raise OrderUnresolved(f"expected the venue to know what became of every order, found no answer for {named}: start again, which asks first")
