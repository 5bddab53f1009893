"""The same session once more, out of what was written down: if anything was decided otherwise, it says what, and at which event first.

The journal gives the opening, the venue's answers and fills, and every decision with its hash; the file beside it gives the bars. The mode says how the
session is put together again. Stored bars in one pass (backtest) or events as they were told (paper, live); the simulated venue, which must execute
again what it executed then, or the recorded answers: always in live mode, and wherever the run itself traded on an exchange, because no simulation
can know what an exchange answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Mode
from desk.books.journal import Between, Journal, Step, Story
from desk.books.portfolio import Portfolio
from desk.books.reconcile import Besides
from desk.chain import MEMORY, Chain
from desk.errors import BadFile, ContractBroken, DeskError
from desk.events import ACTIVE, BarsClosed, Control, Order
from desk.execution.recorded_venue import RecordedVenue
from desk.execution.simulated_venue import Margin, SimulatedVenue
from desk.execution.venue import Venue
from desk.features import recipe
from desk.instruments import Instrument
from desk.market.feed import Feed
from desk.market.recording import Inputs, ToldAgain, inputs_of
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, run_session
from desk.risk.switch import Watch
from desk.strategy.forecast import Forecaster
from desk.strategy.policy import Strategy


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run: its journal's story and its inputs."""

    path: Path
    story: Story
    inputs: Inputs

    @property
    def mode(self) -> Mode:
        """How it was traded."""
        return Mode(self.inputs.setup["mode"])


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay went: steps decided alike, and the first that was not, in words."""

    mode: Mode
    steps: int
    orders: int
    divergence: str | None


def read_run(journal: Path) -> Run:
    """Read a run beside its writer; its setup is part of its inputs."""
    if not journal.exists():
        raise BadFile(f"expected a journal in {journal}, found no such file: name a session under var/journal, or a journal's path")
    inputs = Inputs.read(inputs_of(journal))
    with Chain.reading(journal) as chain:
        story = Journal(chain, "").story(instruments_of(inputs.setup))
    if story is None:
        raise BadFile(f"expected a run in {journal}, found an empty journal: nothing was opened yet")
    return Run(journal, story, inputs)


def instruments_of(setup: Mapping[str, Any]) -> dict[str, Instrument]:
    """The grid as it was recorded."""
    exact = {field.name for field in fields(Instrument) if field.type == "Decimal"}

    def known(row: Mapping[str, str]) -> Instrument:
        values: dict[str, Any] = {name: Decimal(text) if name in exact else text for name, text in row.items()}
        return Instrument(**values)

    return {symbol: known(row) for symbol, row in setup["instruments"].items()}


def setup_of(run: Run, policy: Strategy, forecaster: Forecaster | None) -> Setup:
    """The session's setup out of its recording; what is code or weights is handed in."""
    recorded = run.inputs.setup
    features = recipe.load(recorded["recipe"]) if recorded["recipe"] else None
    if features is not None and features.hash != recorded["features"]:
        raise ContractBroken(f"expected recipe {features.name} of {recorded['features']}, found {features.hash}: replay with the release that traded")
    return Setup(
        session_id=recorded["session"],
        settings_hash=recorded["settings"],
        instruments=instruments_of(recorded),
        policy=policy,
        trading=TradingSettings.model_validate(recorded["trading"]),
        risk=RiskSettings.model_validate(recorded["risk"]),
        recipe=features,
        forecaster=forecaster,
        # Runs recorded before rates were have none.
        funding={(symbol, datetime.fromisoformat(end)): rate for symbol, end, rate in recorded.get("funding", ())},
    )


def replay(run: Run, setup: Setup, mode: Mode) -> Replayed:
    """Trade the run again in `mode` and compare step by step; the first difference ends it."""
    witness = _Witness(run.story.steps)
    opening = run.story.opening
    with Chain(MEMORY, sync=False) as chain:
        journal = Journal(chain, setup.settings_hash)
        try:
            state = (journal, journal.record_opening(opening.at, deepcopy(opening.portfolio)))
            story, venue = run.story, _venue(run, setup, mode)
            run_session(_feed(run, mode), setup, venue, state, witness.see, watch=_told_again(story), besides=_happened_again(story))
        except _Parted:
            pass
        except (DeskError, ArithmeticError, IndexError) as error:
            witness.divergence = f"{witness.where()}: the session stopped: {error}"
    if witness.divergence is None and witness.seen < len(run.story.steps):
        witness.divergence = f"{witness.where()}: no such event in {inputs_of(run.path)}"
    return Replayed(mode, witness.seen, witness.orders, witness.divergence)


def _feed(run: Run, mode: Mode) -> Feed:
    """The events of the recorded steps. One that was told but died before its step was written is told to nobody."""
    start = run.story.opening.at
    history = tuple(event for event in run.inputs.events if event.closed_at <= start)
    traded = tuple(event for event in run.inputs.events if event.closed_at > start)[: len(run.story.steps)]
    if mode is Mode.BACKTEST:
        return StoredFeed(_frame((*history, *traded)), start=start)
    return ToldAgain((*history, *traded), start)


def _frame(events: tuple[BarsClosed, ...]) -> pl.DataFrame:
    bars = [bar for event in events for bar in event.bars]
    columns = ("symbol", "open_time", "open", "high", "low", "close", "volume")
    columns_of = {name: [getattr(bar, name) for bar in bars] for name in columns}
    return pl.DataFrame({**columns_of, "timeframe": [bar.timeframe.value for bar in bars]}).with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


def _told_again(story: Story) -> Watch:
    """What the session was told from outside, when it was told it: at the start of a step, or as its orders were about to be sent."""
    numbers = {step.closed_at: number for number, step in enumerate(story.steps, 1)}
    # A step's start comes after whatever was told while the one before it was sending.
    changes = sorted((((count, not sending), control) for (count, sending), control in story.controls.items()), key=lambda change: change[0])

    def watch(closed_at: datetime, sending: bool) -> Control:
        moment = (numbers.get(closed_at, 0) - (not sending), not sending)
        return next((control for when, control in reversed(changes) if when <= moment), ACTIVE)

    return watch


def _happened_again(story: Story) -> Besides:
    """What happened to the account besides orders, after the step after which it was written down."""
    numbers = {step.closed_at: number for number, step in enumerate(story.steps, 1)}

    def besides(portfolio: Portfolio, at: datetime, leisure: bool) -> Between:
        return story.between.get(numbers.get(at, 0), Between()) if leisure else Between()

    return besides


def _venue(run: Run, setup: Setup, mode: Mode) -> Venue:
    if mode is Mode.LIVE or run.mode is Mode.LIVE:
        return RecordedVenue(run.story)
    return SimulatedVenue(setup.instruments, setup.trading.costs, run.story.opening.portfolio.balances(), Margin(setup.trading.perpetual, {}, setup.funding))


class _Parted(Exception):
    """The replay decided otherwise."""


class _Witness:
    """Compares each replayed step with the recorded one."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps
        self.seen = self.orders = 0
        self.divergence: str | None = None

    def where(self) -> str:
        """The step under comparison, counted from 1."""
        at = self._steps[self.seen].closed_at.isoformat() if self.seen < len(self._steps) else "after the last one"
        return f"step {self.seen + 1} of {len(self._steps)}, closed at {at}"

    def see(self, replayed: Step) -> None:
        """Raise at the first difference."""
        difference = first_difference(self._steps[self.seen], replayed)
        if difference is not None:
            self.divergence = f"{self.where()}: {difference}"
            raise _Parted
        self.seen += 1
        self.orders += len(replayed.approved)


def first_decision_apart(first: Run, second: Run) -> str | None:
    """Where two runs part, whatever they are called: the first step whose time, targets or orders differ. What orders were filled at is not compared."""
    for number, (one, other) in enumerate(zip(first.story.steps, second.story.steps, strict=False), 1):
        for name, ours, theirs in _decided(one, other):
            if ours != theirs:
                return f"step {number}, closed at {one.closed_at.isoformat()}: {name} differ: {ours} against {theirs}"
    counts = len(first.story.steps), len(second.story.steps)
    return None if counts[0] == counts[1] else f"{counts[0]} steps against {counts[1]}; the others are the same"


def _decided(one: Step, other: Step) -> Iterator[tuple[str, Any, Any]]:
    yield "times", one.closed_at.isoformat(), other.closed_at.isoformat()
    yield "bars", one.bars_digest, other.bars_digest
    yield "targets", [(each.symbol, each.hash) for each in one.targets], [(each.symbol, each.hash) for each in other.targets]
    yield "orders", _wanted(one), _wanted(other)


def _wanted(step: Step) -> list[str]:
    return [f"{each.order.side.value} {each.order.quantity} {each.order.symbol}" for each in step.approved]


def first_difference(recorded: Step, replayed: Step) -> str | None:
    """What two tellings of one step do not agree on, causes before effects. None: every hash, order, refusal and fill is the same."""
    return next(filter(None, (_parting(name, one, other) for name, one, other in _compared(recorded, replayed))), None)


def _compared(recorded: Step, replayed: Step) -> Iterator[tuple[str, Any, Any]]:
    yield "time", recorded.closed_at.isoformat(), replayed.closed_at.isoformat()
    yield "bars", recorded.bars_digest, replayed.bars_digest
    yield "model", recorded.model, replayed.model
    for one, other in zip(recorded.targets, replayed.targets, strict=False):
        yield f"target of {one.symbol}", one.hash, other.hash
    yield "number of targets", len(recorded.targets), len(replayed.targets)
    yield "orders", [_words(each.order) for each in recorded.approved], [_words(each.order) for each in replayed.approved]
    yield "refusals", [(_words(each.order), each.guard) for each in recorded.refused], [(_words(each.order), each.guard) for each in replayed.refused]
    yield "decision", recorded.decision_hash, replayed.decision_hash
    yield "equity", recorded.equity, replayed.equity


def _parting(name: str, recorded: Any, replayed: Any) -> str | None:
    return None if recorded == replayed else f"{name} differ: recorded {recorded}, replayed {replayed}"


def _words(order: Order) -> str:
    return f"{order.order_id} {order.side.value} {order.quantity} {order.symbol}"
