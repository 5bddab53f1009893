"""What a run report says, as plain values. Whoever has run something fills these in; `report.render` only lays them out.

Fractions are fractions (0.05 is told as 5 %), times are aware UTC, money is in `RunFacts.quote`. NaN is told as a dash. An empty tuple or None means
that nothing of the kind happened, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Which run this is. `market` describes the market in a sentence; `synthetic` raises the banner (with `seed`) that profits are no evidence."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    settings_hash: str
    dataset_hash: str
    commit: str
    market: str
    timeframe: str
    quote: str
    synthetic: bool
    seed: int | None = None
    # Any further label and value worth a line: model version, recipe hash, MLflow run id.
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SymbolRows:
    """One symbol of the dataset: rows, first and last open_time, bars missing between them."""

    symbol: str
    rows: int
    first: datetime
    last: datetime
    missing_bars: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a symbol's bars: the first missing open_time, the open_time at which bars resume, how many are missing, what it is taken for."""

    symbol: str
    start: datetime
    end: datetime
    missing_bars: int
    kind: str


@dataclass(frozen=True, slots=True)
class QuarantinedCase:
    """One row that a contract kept out: which rule it broke and what was found."""

    symbol: str
    open_time: datetime | None
    rule: str
    found: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of the batch suite, and what was observed."""

    name: str
    passed: bool
    observed: str


@dataclass(frozen=True, slots=True)
class DataSection:
    """What was ingested and what was kept out."""

    symbols: Sequence[SymbolRows]
    gaps: Sequence[Gap] = ()
    quarantined: Sequence[QuarantinedCase] = ()
    expectations: Sequence[Expectation] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """One walk-forward fold: train and test spans (first and last open_time), trials, best parameters, best validation score, IC on the test span."""

    number: int
    train: tuple[datetime, datetime]
    test: tuple[datetime, datetime]
    trials: int
    best_parameters: Mapping[str, float | int | str]
    score: float
    ic: float


@dataclass(frozen=True, slots=True)
class LearningSection:
    """How the model was found: the folds, the recipe, and how many of its features carry a certificate of causality."""

    folds: Sequence[Fold]
    recipe: str
    recipe_hash: str
    features: int
    features_proven: int


@dataclass(frozen=True, slots=True)
class Strategy:
    """One row of the comparison; the first row of the page is the one under review. Measures by the names of `Result.measures`."""

    name: str
    measures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Curves:
    """Series over the tested bars: equity by strategy name (the one under review first), gross exposure of the one under review (fraction of equity)."""

    times: Sequence[datetime]
    equity: Mapping[str, Sequence[float]]
    exposure: Sequence[float]


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading cost the strategy under review, in quote, and what it traded."""

    fees: float
    spread: float
    impact: float
    traded_notional: float
    initial_equity: float


@dataclass(frozen=True, slots=True)
class PlateauRow:
    """One point of a plateau, by its place down and across: final equity in quote, annual Sharpe, fills."""

    down: float
    across: float
    equity: float
    sharpe: float
    fills: int


@dataclass(frozen=True, slots=True)
class PercentileRow:
    """One measure over the resamples: what so many percent of them stay below, and what it was."""

    measure: str
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    happened: float


@dataclass(frozen=True, slots=True)
class Resamples:
    """Other histories of the same `pieces` (bars or trades), `n` of them drawn in blocks of `mean_block` on average; growth of 1 by the name of a curve."""

    pieces: str
    n: int
    mean_block: float
    rows: Sequence[PercentileRow]
    times: Sequence[datetime] = ()
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StressRow:
    """The same decisions under worse terms."""

    name: str
    total_return: float
    sharpe: float
    max_drawdown: float
    fills: int
    refusals: int


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """A bad day: gross exposure before it, worst and final loss (fractions of the equity before), which guards refused how many orders, and the
    smallest equity per unit of gross position (nan: nothing was held)."""

    name: str
    said: str
    exposure: float
    worst_loss: float
    final_loss: float
    refused: Mapping[str, int]
    worst_margin: float


@dataclass(frozen=True, slots=True)
class PlaceboRow:
    """The same exposures on made-up markets of one kind: median return, what 5 % of them exceed, median drawdown, share that paid as much as ours."""

    world: str
    markets: int
    total_return: float
    p95: float
    max_drawdown: float
    as_good: float


@dataclass(frozen=True, slots=True)
class Plateau:
    """The result over two parameters, `axes` (down, across), tested at `tested`. `near_best`: share of the best point's neighbours whose Sharpe is within
    `near` of its own."""

    title: str
    axes: tuple[str, str]
    tested: tuple[float, float]
    rows: Sequence[PlateauRow]
    near_best: float
    near: float


@dataclass(frozen=True, slots=True)
class Robustness:
    """Whether the result would have held."""

    plateaus: Sequence[Plateau]
    resamples: Sequence[Resamples] = ()
    stresses: Sequence[StressRow] = ()
    scenarios: Sequence[ScenarioRow] = ()
    placebo: Sequence[PlaceboRow] = ()


@dataclass(frozen=True, slots=True)
class RegimeRow:
    """The strategy under review inside one regime: share of bars, mean return per bar, annual Sharpe, share of bars with a gain among those that moved."""

    name: str
    share_of_time: float
    mean_return: float
    sharpe: float
    hit_rate: float


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """Orders that a guard stopped for one reason."""

    guard: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class PromotionCheck:
    """One condition of promotion: what was found, what was needed."""

    name: str
    found: str
    needed: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Promotion:
    """The decision of the gate between a model and capital, with its reasons."""

    promoted: bool
    challenger: str
    champion: str | None
    reasons: Sequence[str]
    checks: Sequence[PromotionCheck] = ()


@dataclass(frozen=True, slots=True)
class PaperSession:
    """The paper session: bars and fills, equity before and after, the span it covered, where it took up from (None: a fresh start)."""

    bars: int
    orders: int
    fills: int
    refused: int
    first_equity: float
    last_equity: float
    span: tuple[datetime, datetime] | None
    resumed_from: str | None
    model: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of the run: whether its result came from the cache, and its seconds."""

    task: str
    cached: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Viewer:
    """How to look further: a tool, the command that opens it, and the loopback address it then answers at."""

    name: str
    command: str
    address: str


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Everything on the page, in the order of the page."""

    run: RunFacts
    data: DataSection
    learning: LearningSection
    comparison: Sequence[Strategy]
    curves: Curves | None
    costs: Costs | None
    regimes: Sequence[RegimeRow]
    refusals: Sequence[RefusalRow]
    promotion: Promotion | None
    paper: PaperSession | None
    tasks: Sequence[TaskRow]
    viewers: Sequence[Viewer]
    robustness: Robustness | None = None
    # Name and sentence of each assumption of the simulation, as in `Result.assumptions`.
    assumptions: Mapping[str, str] = field(default_factory=dict)
