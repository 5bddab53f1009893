"""Where a journal leads: entry after entry, from the opening to where the session stands. The same fold runs after a crash and beside a running session.

Everything taken twice counts once: a session books what it hears and its journal hears the same, on one portfolio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from desk.books.portfolio import Portfolio
from desk.books.records import (
    Recovered,
    Step,
    control_of,
    fill_of,
    flattened,
    flow_of,
    funded,
    order_of,
    row_of_control,
    step_of,
    stopped_out,
)
from desk.chain import Link
from desk.errors import BookMismatch, JournalBroken
from desk.events import Approved, Control, Fill, Flow
from desk.instruments import Instrument

OPENED, STEP, ANSWERS, SETTLED, INTENTS, CONTROL, FLOWS = "opened", "step", "answers", "settled", "intents", "control", "flows"
REJECTED = "rejected"


class Fold:
    """The state after some entries. `standing` has it."""

    def __init__(self, standing: Recovered) -> None:
        self._standing = replace(standing, opened_at=standing.opened_at or standing.at)
        self._rejected: set[str] = set()

    @property
    def standing(self) -> Recovered:
        """Where the session stands, without the orders that are proven dead."""
        last, dead = self._standing.last, self._rejected
        if last is not None:
            last = replace(last, stops=tuple(order for order in last.stops if order.order_id not in dead))
        return replace(self._standing, last=last, pending=tuple(item for item in self._standing.pending if item.order.order_id not in dead))

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self._standing.steps

    def take(self, link: Link) -> None:
        """The next entry, in this release's words."""
        take = _TAKES.get(link.kind)
        if take is not None:
            take(self, link)

    def step(self, step: Step) -> None:
        """A close was decided."""
        now = self._standing
        self._book(step.fills)
        growth = now.growth * step.equity / now.last.equity if now.last is not None and now.last.equity > 0 else now.growth
        # Who rests was approved before, or is approved here: nobody asks for the dead of earlier steps any more.
        self._rejected &= {order.order_id for order in step.stops}
        self._standing = replace(now, at=step.closed_at, last=step, pending=step.approved, steps=now.steps + 1, growth=growth)

    def control(self, control: Control) -> None:
        """The session was told something."""
        self._standing = replace(self._standing, told=control)

    def answers(self, answers: Sequence[Sequence[str]]) -> None:
        """The venue answered: (order id, outcome, detail)."""
        self._rejected.update(order_id for order_id, outcome, _ in answers if outcome == REJECTED)

    def intents(self, orders: Sequence[Approved]) -> None:
        """Orders of no step."""
        now = self._standing
        self._standing = replace(now, last=flattened(now.last, orders), pending=now.pending + tuple(orders))

    def settled(self, fills: Sequence[Fill]) -> None:
        """Executions found between two steps."""
        self._book(fills)
        self._standing = replace(self._standing, last=stopped_out(self._standing.last, fills))

    def flows(self, flows: Sequence[Flow]) -> None:
        """Money came or went."""
        for flow in flows:
            now = self._standing
            now.portfolio.move(flow)
            last = funded(now.last, now.portfolio.worth(flow, now.last.closes)) if now.last else None
            self._standing = replace(now, last=last)

    def state(self) -> dict[str, Any]:
        """What cannot be read off the newest step's own entry. Asked for right after that step."""
        now = self._standing
        assert now.opened_at is not None
        return {
            "opened_at": now.opened_at.isoformat(),
            "book": now.portfolio.state(),
            "steps": now.steps,
            "told": row_of_control(now.told),
            "growth": now.growth,
            "rejected": sorted(self._rejected),
        }

    @classmethod
    def opened(cls, link: Link, instruments: Mapping[str, Instrument]) -> Fold:
        """A fold over the first entry."""
        positions = {symbol: Decimal(text) for symbol, text in link.payload["positions"].items()}
        refuse_strangers(positions, instruments)
        portfolio = Portfolio(instruments, Decimal(link.payload["cash"]), positions)
        portfolio.know(flows=link.payload["flows"])
        return cls(Recovered(link.at, portfolio, None, (), 0))

    @classmethod
    def resumed(cls, state: Mapping[str, Any], link: Link, instruments: Mapping[str, Instrument]) -> Fold:
        """A fold that has taken everything up to the step in `link`, whose state was `state`."""
        if link.kind != STEP:
            raise JournalBroken(f"expected a snapshot at a step, found one at entry {link.sequence}, '{link.kind}': the whole chain is read instead")
        refuse_strangers(state["book"]["positions"], instruments)
        portfolio = Portfolio.of_state(instruments, state["book"])
        step = step_of(link.at, link.payload)
        opened_at = datetime.fromisoformat(state["opened_at"])
        fold = cls(Recovered(link.at, portfolio, step, step.approved, state["steps"], control_of(state["told"]), state["growth"], opened_at))
        fold.answers([(order_id, REJECTED, "") for order_id in state["rejected"]])
        return fold

    def _book(self, fills: Sequence[Fill]) -> None:
        for fill in fills:
            self._standing.portfolio.apply(fill)


# How an entry of each kind is taken; those of other kinds change nothing.
_TAKES: dict[str, Callable[[Fold, Link], None]] = {
    STEP: lambda fold, link: fold.step(step_of(link.at, link.payload)),
    CONTROL: lambda fold, link: fold.control(control_of(link.payload)),
    ANSWERS: lambda fold, link: fold.answers(link.payload["answers"]),
    INTENTS: lambda fold, link: fold.intents([Approved(order_of(each)) for each in link.payload["approved"]]),
    SETTLED: lambda fold, link: fold.settled([fill_of(each) for each in link.payload["fills"]]),
    FLOWS: lambda fold, link: fold.flows([flow_of(each) for each in link.payload["flows"]]),
}


def refuse_strangers(positions: Mapping[str, object], instruments: Mapping[str, Instrument]) -> None:
    """`BookMismatch` when a book was opened on other symbols."""
    if set(positions) != set(instruments):
        known, wanted = ", ".join(sorted(positions)), ", ".join(sorted(instruments))
        raise BookMismatch(f"expected the symbols this journal was opened on ({known}), found {wanted}: trade the same ones, or open another journal")
