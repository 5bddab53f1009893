"""A venue that says again what a venue once said: answers and fills out of a journal, at the steps where they were heard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from desk.books.journal import Story
from desk.events import Approved, BarsClosed, Fill
from desk.execution.venue import Account, Answer, Outcome


class RecordedVenue:
    """Implements `Venue`. Knows nothing that the journal does not: an order without an answer was confirmed by silence, which its fills show."""

    def __init__(self, story: Story) -> None:
        self._answers = story.answers
        self._heard = [story.settled.get(number, ()) + step.fills for number, step in enumerate(story.steps)]
        self._executed: dict[str, Decimal] = {}
        once = {(fill.symbol, fill.trade_id): fill for fills in (*self._heard, *story.settled.values()) for fill in fills}
        for fill in once.values():
            self._executed[fill.order_id] = self._executed.get(fill.order_id, Decimal(0)) + fill.quantity
        self._balances = story.opening.portfolio.balances()
        self._step = 0

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """The answers of then."""
        return tuple(self._answer(approved.order.order_id) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """What was heard since the step before, settled at a start or in this step."""
        if self._step >= len(self._heard):
            return ()
        self._step += 1
        return self._heard[self._step - 1]

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """The answer of then."""
        return self._answer(order_id)

    def cancel(self, order_id: str, symbol: str) -> Answer:
        """Ended, with what it executed."""
        answer = self._answer(order_id)
        return Answer(order_id, Outcome.CONFIRMED, answer.detail.removeprefix("cancel: "), self._executed.get(order_id, Decimal(0)))

    def cancel_open(self, at: datetime) -> None:
        """Nothing is open here."""

    def account(self) -> Account:
        """The account as it was opened."""
        return Account(dict(self._balances), ())

    def _answer(self, order_id: str) -> Answer:
        outcome, detail = self._answers.get(order_id, (Outcome.CONFIRMED.value, ""))
        return Answer(order_id, Outcome(outcome), detail)
