"""What tasks hand to each other: small JSON-able references and summaries, never frames."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.learning import LearningSettings
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from data_contracts.dataset import DatasetRef
from desk.errors import PreflightFailed
from desk.execution.ccxt_settings import Dialect
from desk.instruments import Instrument


class Value(BaseModel):
    """Frozen, closed, survives Prefect's JSON results unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InstrumentRow(Value):
    """A symbol's grid as the venue stated it, exact: decimals as text."""

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    min_notional: str

    def instrument(self) -> Instrument:
        """The desk's value."""
        return Instrument(self.symbol, self.base, self.quote, Decimal(self.tick), Decimal(self.lot), Decimal(self.min_notional))

    @classmethod
    def of(cls, instrument: Instrument) -> InstrumentRow:
        """From the desk's value."""
        return cls(**{name: str(getattr(instrument, name)) for name in cls.model_fields})


def dialect_of(symbols: Sequence[str]) -> Dialect:
    """Which of a venue's markets symbols belong to; PreflightFailed for some of each: they are two accounts."""
    contracts = [symbol for symbol in symbols if ":" in symbol]
    if contracts and len(contracts) < len(symbols):
        raise PreflightFailed(f"expected coins or contracts, found both in market.symbols: {', '.join(symbols)}; trade them in two runs")
    return Dialect.LINEAR if contracts else Dialect.SPOT


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
    instruments: tuple[InstrumentRow, ...]

    @property
    def dialect(self) -> Dialect:
        """Which of the venue's markets this is: coins, or contracts."""
        return dialect_of(self.symbols)

    def grid(self) -> dict[str, Instrument]:
        """Instruments by symbol."""
        return {row.symbol: row.instrument() for row in self.instruments}


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
    ic: float | None
    linear_ic: float | None
    collapsed: bool
    identity: str


class Check(Value):
    """One condition of the gate: what was found, what was needed."""

    name: str
    found: str
    needed: str
    passed: bool


class Backtested(Value):
    """Where the stitched out-of-sample backtest lies and what it measured, by strategy."""

    folder: Path
    measures: dict[str, dict[str, float]]
    fills: int
    refusals: int
    kernel_agrees: str
    lookahead: tuple[Check, ...]
    path_ics: tuple[float, ...]
    path_interval: tuple[float, float] | None = None
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
    champion: str | None
    checks: tuple[Check, ...]


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


class Rules(Value):
    """Everything that decides how forecasts become orders."""

    trading: TradingSettings
    risk: RiskSettings
    learning: LearningSettings
    settings_hash: str


class Research(Value):
    """What research produced: admitted bars, features, one fit per fold, the rates that contracts paid; the last fold is the holdout's, the model that may
    trade."""

    validated: Validated
    features: Features
    folds: tuple[FoldFit, ...]
    funding: DatasetRef | None = None


class Verdict(Value):
    """What the evidence said and what paper did with it."""

    tested: Backtested
    promoted: Promoted
    window: Window


class Outcome(Value):
    """What a pipeline run leaves to be read."""

    report: Path
    promoted: bool
    reasons: tuple[str, ...]
    model_version: str
    paper_bars: int
    paper_fills: int
    resumed_from: datetime | None
