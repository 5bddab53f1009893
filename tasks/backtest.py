"""The stitched out-of-sample backtest: every fold's model answers for its own span, the session trades, the kernel checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.backtest.frames import FILLS, REFUSALS
from desk.backtest.panel import Panel
from desk.backtest.result import Frames, Result, first_difference
from desk.backtest.robustness import Case
from desk.backtest.scenarios import Scenario, frame_of
from desk.backtest.thresholds import Heard
from desk.errors import BookMismatch
from desk.instruments import Instrument
from desk.market.funding import laid_along, rates_due
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import SessionResult
from desk.strategy.forecast import Forecaster
from tasks.assembly import setup_of, stitched
from tasks.features import bars_and_features
from tasks.ledger import trials_of
from tasks.lookahead import decisions_check, learning_check
from tasks.places import lake_of
from tasks.policies import artefact_task
from tasks.robustness import Beyond, write_robustness
from tasks.values import Backtested, Check, Market, Research, Rules

# Bars before a made-up bad day in which the model comes to hold what it wants.
LEAD_BARS = 48


@artefact_task(name="backtest_stitched", ignore=("operations",))
def backtest_stitched(market: Market, research: Research, rules: Rules, operations: OperationsSettings, *, folder: Path) -> Backtested:
    """The network by the session, the kernel beside it, and the baselines by the kernel; all on the same bars, costs and limits."""
    bars = lake_of(operations).read(research.validated.clean)
    rates = rates_due(lake_of(operations).read(research.funding), Timeframe(market.timeframe)) if research.funding else {}
    bench = Bench(market, research, rules, bars, rates)
    network = Heard(bench.forecaster("network"))
    session = bench.session("network", network)
    exposures = bench.exposures(session)
    kernel = bench.kernel(exposures)
    agreed = agreement(session, kernel, market.grid())
    results = {"network": kernel, **bench.baselines()}
    save(folder, results, bench.panel)
    recorded = None if market.synthetic else Panel.from_frame(bars)
    write_robustness(bench.case(exposures), Beyond(recorded, network.forecasts, bench.answer), folder)
    ics, interval = along_paths(research, rules, operations)
    return Backtested(
        folder=folder,
        path_ics=ics,
        path_interval=interval,
        measures={name: finite(result.measures) for name, result in results.items()},
        fills=len(session.fills),
        refusals=len(session.refusals),
        kernel_agrees=agreed,
        lookahead=(bench.decisions_check(session), learning_check(bars, research.folds[-1].starts, rules.learning)),
        holdout_from=research.folds[-1].starts,
        trials=len(trials_of(operations, research.validated.clean.table)),
    )


@dataclass(frozen=True)
class Bench:
    """Everything a comparison on equal terms needs."""

    market: Market
    research: Research
    rules: Rules
    bars: pl.DataFrame
    rates: Mapping[tuple[str, datetime], float]

    @cached_property
    def panel(self) -> Panel:
        """The bars from the first out-of-sample one on. It knows the closes before them that the network's session has seen by then."""
        known = self._setup("backtest-network", self.forecaster("network")).warmup_bars
        return Panel.from_frame(self.bars).since(self.research.folds[0].starts, known)

    def forecaster(self, kind: str) -> Forecaster:
        """The stitched models of one kind."""
        return stitched(self.research.folds, kind, Timeframe(self.market.timeframe))

    def session(self, kind: str, forecaster: Forecaster) -> SessionResult:
        """Trade the stored bars, by the path that paper and live take."""
        return self._traded(f"backtest-{kind}", forecaster, StoredFeed(self.bars, start=self.research.folds[0].starts))

    def decisions_check(self, session: SessionResult) -> Check:
        """Whether the network's decisions would have been the same with other bars to come."""
        starts = self.research.folds[0].starts

        def again(bars: pl.DataFrame) -> SessionResult:
            return self._traded("backtest-lookahead", self.forecaster("network"), StoredFeed(bars, start=starts))

        return decisions_check(self.bars, starts, Timeframe(self.market.timeframe), session, again)

    def answer(self, scenario: Scenario) -> NDArray[np.float64]:
        """What the network wants on a scenario's bars [time, asset]: it trades them from a while before until they are no longer watched."""
        bars, first = scenario.case.bars, max(scenario.begins - LEAD_BARS, 0)
        starts, ends = (bars.times[row].astype(datetime).replace(tzinfo=UTC) for row in (first, scenario.ends - 1))
        before = self.bars.filter(pl.col("open_time") < self.research.folds[0].starts)
        told = pl.concat([before, frame_of(bars, Timeframe(self.market.timeframe))]).filter(pl.col("open_time") <= ends)
        return self.exposures(self._traded(f"backtest-{scenario.name}", self.forecaster("network"), StoredFeed(told, start=starts)))

    def _traded(self, session_id: str, forecaster: Forecaster, feed: StoredFeed) -> SessionResult:
        return backtest(feed, self._setup(session_id, forecaster))

    def _setup(self, session_id: str, forecaster: Forecaster) -> Setup:
        return setup_of(self.market, self.research, self.rules, session_id=session_id, forecaster=forecaster, funding=self.rates)

    def exposures(self, session: SessionResult) -> NDArray[np.float64]:
        """The session's targets as an array [time, asset], NaN where none was set."""
        panel, delta = self.panel, Timeframe(self.market.timeframe).delta
        row = {moment: number for number, moment in enumerate(panel.times)}
        column = {symbol: number for number, symbol in enumerate(panel.symbols)}
        wanted = np.full(panel.close.shape, np.nan)
        for target in session.targets:
            wanted[row[np.datetime64((target.closed_at - delta).replace(tzinfo=None), "us")], column[target.symbol]] = target.exposure
        return wanted

    def kernel(self, exposures: NDArray[np.float64]) -> Result:
        """The same accounting in the kernel."""
        return self.case(exposures).result

    def case(self, exposures: NDArray[np.float64]) -> Case:
        """These exposures on the tested bars, to be played and played again otherwise."""
        panel, trading = self.panel, self.rules.trading
        funding = laid_along(self.rates, panel.closed_at, panel.symbols) if self.rates else None
        return Case(panel, exposures, trading.costs, self.rules.risk, trading, self.market.grid(), funding)

    def baselines(self) -> Mapping[str, Result]:
        """What the network must beat: a linear model on the same features, holding everything, and doing nothing."""
        shape = self.panel.close.shape
        hold = np.full(shape, np.nan)
        first = np.argmax(np.isfinite(self.panel.close), axis=0)
        hold[first, np.arange(shape[1])] = 1.0
        linear = self.kernel(self.exposures(self.session("linear", self.forecaster("linear"))))
        return {"linear": linear, "buy and hold": self.kernel(hold), "flat": self.kernel(np.zeros(shape))}


def along_paths(research: Research, rules: Rules, operations: OperationsSettings) -> tuple[tuple[float, ...], tuple[float, float] | None]:
    """Information coefficients of the linear model along each combinatorial path, and the interval of their mean; undefined ones are left out."""
    from models.paths import path_coefficients
    from models.windows import build

    bars, rows = bars_and_features(research.validated, research.features, operations)
    found = path_coefficients(build(rows, bars, rules.learning.horizon_bars), rules.learning)
    known = tuple(coefficient for coefficient in found.coefficients if np.isfinite(coefficient))
    return known, found.interval if np.isfinite(found.interval).all() else None


def agreement(session: SessionResult, kernel: Result, instruments: Mapping[str, Instrument]) -> str:
    """Session and kernel: every fill, every refusal, and equity at every close; raises BookMismatch naming the first difference."""
    told = in_kernel_words(session, instruments)
    if difference := first_difference(told, kernel):
        raise BookMismatch(f"expected the kernel to account as the session does, found that the session's {difference}; do not trust either")
    apart = float(np.max(np.abs(told.equity / kernel.equity - 1), initial=0.0))
    return f"{len(session.fills)} fills equal, equity within {apart:.1e}"


def in_kernel_words(session: SessionResult, instruments: Mapping[str, Instrument]) -> Result:
    """What a session did, in the form that the kernel tells it: integer lots and ticks. Positions and measures are the kernel's alone."""
    fills = [
        {
            "time": fill.at,
            "symbol": fill.symbol,
            "side": fill.side.value,
            "lots": int(fill.quantity / instruments[fill.symbol].lot),
            "ticks": int(fill.price / instruments[fill.symbol].tick),
            "quantity": float(fill.quantity),
            "price": float(fill.price),
            "fee": float(fill.fee),
        }
        for fill in session.fills
        if fill.quantity
    ]
    refusals = [{"time": item.order.decided_at, "symbol": item.order.symbol, "guard": item.guard, "reason": item.reason} for item in session.refusals]
    return Result(
        times=np.array([moment.replace(tzinfo=None) for moment, _ in session.equity], dtype="datetime64[us]"),
        symbols=tuple(sorted(instruments)),
        equity=np.array([value for _, value in session.equity]),
        detail=Frames(pl.DataFrame(fills, schema=FILLS), pl.DataFrame(refusals, schema=REFUSALS), np.empty((0, 0))),
        measures={},
        assumptions={},
    )


def save(folder: Path, results: Mapping[str, Result], panel: Panel) -> None:
    """Each strategy's bundle, and one table of all equity curves."""
    for name, result in results.items():
        result.save(folder / name.replace(" ", "_"))
    curves = pl.DataFrame({"time": panel.times, **{name: result.equity for name, result in results.items()}})
    curves.write_parquet(folder / "curves.parquet")
    (folder / "measures.json").write_text(json.dumps({name: finite(result.measures) for name, result in results.items()}, indent=1), encoding="utf-8")


def finite(measures: Mapping[str, float]) -> dict[str, float]:
    """Measures that are defined: JSON has no NaN, and an absent measure reads as undefined."""
    return {name: float(value) for name, value in measures.items() if np.isfinite(value)}


def returns_of(curves: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """Per-bar returns of one strategy, the first bar's being 0."""
    equity: NDArray[np.float64] = curves[name].to_numpy()
    before = np.concatenate([equity[:1], equity[:-1]])
    return np.asarray((equity - before) / before)
