"""Sends what was approved, writes down what the venue answered, and asks before it believes that an order does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from desk.books.journal import Journal
from desk.errors import OrderUnresolved
from desk.events import Approved
from desk.execution.venue import Answer, Outcome, Venue


class OrderManager:
    """Between the journal and a venue. Never sends an order again unless the venue proved that it does not have it."""

    def __init__(self, venue: Venue, journal: Journal) -> None:
        self._venue = venue
        self._journal = journal

    def send(self, orders: Sequence[Approved], at: datetime) -> None:
        """Submit orders that the journal already holds; sells come first. An outcome the venue cannot settle raises `OrderUnresolved`."""
        if not orders:
            return
        symbols = {approved.order.order_id: approved.order.symbol for approved in orders}
        answers = self._venue.submit(orders)
        self._record(at, answers)
        doubtful = [answer for answer in answers if answer.outcome is Outcome.UNRESOLVED]
        settled = [self._venue.resolve(answer.order_id, symbols[answer.order_id]) for answer in doubtful]
        self._record(at, settled)
        self._refuse_doubt(settled)

    def recover(self, pending: Sequence[Approved], at: datetime) -> None:
        """After a restart: send those orders of the last step that provably never arrived."""
        self.send(self.missing(pending), at)

    def missing(self, pending: Sequence[Approved]) -> tuple[Approved, ...]:
        """Ask for every order that may be out there; those the venue proves it never had."""
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
