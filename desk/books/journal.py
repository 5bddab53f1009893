"""What the session writes down before it acts, and how it finds itself again after a crash.

A typed face of `desk.chain`: one entry for the opening, one per step, one per batch of venue answers. Every so many steps it keeps a snapshot of what
the entries lead to, so that standing up again does not take longer with every day. Opening verifies the chain from the snapshot on; `Chain.verify`
reads all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from configs.trading import JournalSettings
from desk import log
from desk.books.fold import ANSWERS as ANSWERS
from desk.books.fold import CONTROL, FLOWS, INTENTS, OPENED, SETTLED, Fold
from desk.books.fold import REJECTED as REJECTED
from desk.books.fold import STEP as STEP
from desk.books.portfolio import Portfolio
from desk.books.records import Between as Between
from desk.books.records import Recovered as Recovered
from desk.books.records import RiskMarks as RiskMarks
from desk.books.records import Step as Step
from desk.books.records import Story as Story
from desk.books.records import row_of_control, row_of_fill, row_of_flow, row_of_order, row_of_step, step_of
from desk.books.records import stopped_out as stopped_out
from desk.books.telling import Telling
from desk.books.upcasters import VERSION, current
from desk.chain import Chain, Entry, Head, Link
from desk.clock import WallClock
from desk.errors import JournalBroken, JournalStalled
from desk.events import Approved, Control, Fill, Flow
from desk.instruments import Instrument


class Journal:
    """The session's book of record. Every entry carries the settings hash, the model's name and the version of its words."""

    def __init__(self, chain: Chain, settings_hash: str, rules: JournalSettings | None = None) -> None:
        self._chain = chain
        self._settings = settings_hash
        self._rules = rules or JournalSettings()
        self._clock = WallClock()
        self._fold: Fold | None = None

    def record_opening(self, at: datetime, portfolio: Portfolio, flows: Sequence[Flow] = ()) -> Recovered:
        """The account the session starts from, which has seen these flows already; written once, before the first step."""
        positions = {symbol: str(position) for symbol, position in portfolio.positions.items()}
        known = [flow.flow_id for flow in flows]
        self._append(at, OPENED, "", {"cash": str(portfolio.cash), "positions": positions, "flows": known})
        portfolio.know(flows=known)
        return self.follow(Recovered(at, portfolio, None, (), 0, opened_at=at))

    def follow(self, standing: Recovered) -> Recovered:
        """Go on from where a session stands whose journal this is. What it books from now on is booked on the portfolio given here."""
        self._fold = Fold(standing)
        return standing

    def record_step(self, step: Step) -> None:
        """One whole step in one transaction; when this returns, the step may be acted upon."""
        self._append(step.closed_at, STEP, step.model, row_of_step(step))
        if self._fold is not None:
            self._fold.step(step)
            if self._due(self._fold):
                rows = (row for link in self._entries(self._chain.newest_snapshot()) for row in link.payload.get("fills", ()))
                self._keep(self._chain.head, self._fold.state(), rows)

    def record_answers(self, at: datetime, answers: Sequence[tuple[str, str, str]]) -> None:
        """What the venue said: (order id, outcome, detail)."""
        if answers:
            self._append(at, ANSWERS, "", {"answers": [list(answer) for answer in answers]})
            if self._fold is not None:
                self._fold.answers(answers)

    def record_settled(self, at: datetime, fills: Sequence[Fill]) -> None:
        """Fills that were found while starting, between two steps."""
        if fills:
            self._append(at, SETTLED, "", {"fills": [row_of_fill(fill) for fill in fills]})
            if self._fold is not None:
                self._fold.settled(fills)

    def record_intents(self, at: datetime, orders: Sequence[Approved]) -> None:
        """Orders that belong to no step and close positions, written down before they are sent."""
        self._append(at, INTENTS, "", {"approved": [row_of_order(approved.order) for approved in orders]})
        if self._fold is not None:
            self._fold.intents(orders)

    def record_flows(self, at: datetime, flows: Sequence[Flow]) -> None:
        """Money that came or went since the last step."""
        if flows:
            self._append(at, FLOWS, "", {"flows": [row_of_flow(flow) for flow in flows]})
            if self._fold is not None:
                self._fold.flows(flows)

    def record_control(self, at: datetime, control: Control, *, sending: bool) -> None:
        """What the session was told from outside, when it is not what it was told before; `sending`: as it was about to send what the last step approved."""
        self._append(at, CONTROL, "", {**row_of_control(control), "sending": sending})
        if self._fold is not None:
            self._fold.control(control)

    def steps(self) -> tuple[Step, ...]:
        """Every step recorded, oldest first."""
        return tuple(step_of(link.at, link.payload) for link in self._entries(kind=STEP))

    def story(self, instruments: Mapping[str, Instrument]) -> Story | None:
        """Read the whole journal without folding it, to tell it again. None: nothing was ever opened."""
        telling = Telling(instruments)
        for link in self._entries():
            telling.hear(link)
        return telling.story()

    def recover(self, instruments: Mapping[str, Instrument]) -> Recovered | None:
        """Fold the journal, verified first: what came after the newest snapshot, or all of it. None: nothing was ever opened."""
        fold = self._from_snapshot(instruments) or self._from_the_opening(instruments)
        if fold is None:
            return None
        self._fold = fold
        return fold.standing

    def _from_snapshot(self, instruments: Mapping[str, Instrument]) -> Fold | None:
        """The fold from the newest snapshot on; None without one, or when any of them does not belong to this chain: then all of it is read."""
        try:
            snapshots = self._chain.snapshots()
            if not snapshots:
                return None
            newest = snapshots[-1]
            links = self._entries(newest.sequence - 1)
            fold = Fold.resumed(newest.state, next(links), instruments)
            for snapshot in snapshots:
                fold.standing.portfolio.know(trades=snapshot.state["trades"])
        except (JournalBroken, KeyError, TypeError, ValueError) as error:
            if self._chain.keeps_snapshots:
                self._chain.forget_snapshots()
            log.event("journal.snapshot_refused", level="ERROR", journal=str(self._chain.path), why=f"{type(error).__name__}: {error}")
            return None
        self._chain.verify(newest.sequence)
        for link in links:
            fold.take(link)
        return fold

    def _from_the_opening(self, instruments: Mapping[str, Instrument]) -> Fold | None:
        self._chain.verify()
        first = next(self._chain.entries(), None)
        if first is None:
            return None
        if first.kind != OPENED:
            raise JournalBroken(f"expected the first entry of {self._chain.path} to be '{OPENED}', found '{first.kind}': restore a backup")
        links = self._entries()
        fold, fills = Fold.opened(next(links), instruments), list[list[str]]()
        due: tuple[Head, dict[str, Any], int] | None = None
        for link in links:
            fold.take(link)
            fills += link.payload.get("fills", ())
            if link.kind == STEP and self._due(fold):
                due = Head(link.sequence, link.hash), fold.state(), len(fills)
        if due is not None:
            # So that it takes that long only once.
            self._keep(due[0], due[1], fills[: due[2]])
        return fold

    def _due(self, fold: Fold) -> bool:
        """Whether the step just taken is one to keep a snapshot at."""
        return self._chain.keeps_snapshots and fold.steps % self._rules.snapshot_steps == 0

    def _keep(self, at: Head, state: dict[str, Any], fills: Iterable[Sequence[str]]) -> None:
        """Keep a snapshot, with the trades that no snapshot before it has: a year of them is long."""
        self._chain.keep(at, {**state, "trades": [[row[2], row[1]] for row in fills]})

    def _entries(self, after: int = 0, kind: str | None = None) -> Iterator[Link]:
        """Entries in this release's words, whichever release wrote them."""
        for link in self._chain.entries(after, kind):
            yield replace(link, payload=current(link.kind, link.payload, str(self._chain.path)))

    def _append(self, at: datetime, kind: str, model: str, payload: dict[str, Any]) -> None:
        """On the disk when this returns, and soon enough: whoever waits for a slow disk trades on old news."""
        began = self._clock.seconds()
        self._chain.append([Entry(at, kind, {"settings": self._settings, "model": model, "version": VERSION, **payload})])
        took = self._clock.seconds() - began
        if took > self._rules.stall_s:
            raise JournalStalled(f"expected an entry in {self._chain.path} within {self._rules.stall_s:g} s, found it took {took:.3f} s: stop, check the disk")
