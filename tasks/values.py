"""What tasks hand to each other: small JSON-able references and summaries, never frames."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.dataset import DatasetRef


class Value(BaseModel):
    """Frozen, closed, survives Prefect's JSON results unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Market(Value):
    """The market a run works on. `name` keys lake tables and journals; it holds the tape's content hash when the tape is fixed."""

    name: str
    hash: str
    symbols: tuple[str, ...]
    timeframe: str
    history_until: datetime
    ends_at: datetime | None
    synthetic: bool
    description: str


class Gap(Value):
    """A hole in one symbol's bars: reported, never filled."""

    symbol: str
    after: datetime
    before: datetime
    missing_bars: int


class Validated(Value):
    """Admitted bars, with everything the checks saw."""

    clean: DatasetRef
    gaps: tuple[Gap, ...]
    expectations_met: bool
    expectation_failures: tuple[str, ...]


class Features(Value):
    """A features table and the proof that it sees no future."""

    ref: DatasetRef
    recipe: str
    recipe_hash: str
    names: tuple[str, ...]
    warmup_bars: int
    certified: tuple[str, ...]


class FoldFit(Value):
    """One walk-forward fold: tuned, trained, exported. `starts`..`ends` is the span its models may answer for."""

    fold: int
    starts: datetime
    ends: datetime | None
    folder: Path
    best: dict[str, float | int]
    trials: int
    trial_scores: tuple[float, ...]
    ic: float
    linear_ic: float
    collapsed: bool
    identity: str


class Backtested(Value):
    """Where the stitched out-of-sample backtest lies and what it measured, by strategy."""

    folder: Path
    measures: dict[str, dict[str, float]]
    fills: int
    refusals: int
    kernel_agrees: str
    holdout_from: datetime
    trials: int


class Promoted(Value):
    """The gate's answer, and the registered version."""

    promoted: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]
    model_version: str
    run_id: str
    alias: str
    holdout_spent_before: bool


class Window(Value):
    """One bounded trading window."""

    session_id: str
    bars: int
    fills: int
    refusals: int
    resumed_from: datetime | None
    ended_at: datetime | None
    equity: float
    started_equity: float
    fees: float
    ended_because: str
    journal: Path
