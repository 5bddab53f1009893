"""The stitched out-of-sample backtest: every fold's model answers for its own span, the session trades, the kernel checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.backtest.kernel import simulate, sweep
from desk.backtest.panel import Panel
from desk.backtest.result import FILLS, REFUSALS, Frames, Result, first_difference
from desk.errors import BookMismatch
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import backtest
from desk.session import SessionResult
from tasks.assembly import setup_of, stitched
from tasks.features import bars_and_features
from tasks.ledger import trials_of
from tasks.places import lake_of
from tasks.policies import artefact_task
from tasks.values import Backtested, Market, Research, Rules

# Sizes and delays at which the same decisions are traded again, to see whether the result stands on a plateau.
PLATEAU: dict[str, list[float]] = {"size": [0.5, 0.75, 1.0], "bars_late": [0, 1, 2]}


@artefact_task(name="backtest_stitched", ignore=("operations",))
def backtest_stitched(market: Market, research: Research, rules: Rules, operations: OperationsSettings, *, folder: Path) -> Backtested:
    """The network by the session, the kernel beside it, and the baselines by the kernel; all on the same bars, costs and limits."""
    bars = lake_of(operations).read(research.validated.clean)
    bench = Bench(market, research, rules, bars)
    session = bench.session("network")
    exposures = bench.exposures(session)
    kernel = bench.kernel(exposures)
    agreed = agreement(session, kernel, market.grid())
    results = {"network": kernel, **bench.baselines()}
    save(folder, results, bench.panel)
    plateau = bench.plateau(exposures)
    plateau.write_parquet(folder / "plateau.parquet")
    ics, interval = along_paths(research, rules, operations)
    return Backtested(
        folder=folder,
        path_ics=ics,
        path_interval=interval,
        measures={name: finite(result.measures) for name, result in results.items()},
        fills=len(session.fills),
        refusals=len(session.refusals),
        kernel_agrees=agreed,
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

    @property
    def panel(self) -> Panel:
        """The bars from the first out-of-sample one on."""
        return Panel.from_frame(self.bars.filter(pl.col("open_time") >= self.research.folds[0].starts))

    def session(self, kind: str) -> SessionResult:
        """Trade the stored bars with the stitched models of one kind, by the path that paper and live take."""
        forecaster = stitched(self.research.folds, kind, Timeframe(self.market.timeframe))
        setup = setup_of(self.market, self.research, self.rules, session_id=f"backtest-{kind}", forecaster=forecaster)
        return backtest(StoredFeed(self.bars, start=self.research.folds[0].starts), setup)

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
        return simulate(self.panel, exposures, self.rules.trading.costs, self.rules.risk, instruments=self.market.grid(), trading=self.rules.trading)

    def plateau(self, exposures: NDArray[np.float64]) -> pl.DataFrame:
        """The same decisions at other sizes and later by some bars: a result that stands on one point only is luck."""

        def varied(_: Panel, size: float, bars_late: int) -> NDArray[np.float64]:
            late = np.full_like(exposures, np.nan)
            late[bars_late:] = exposures[: len(exposures) - bars_late]
            return late * size

        costs, limits = self.rules.trading.costs, self.rules.risk
        return sweep(self.panel, varied, PLATEAU, costs, limits, instruments=self.market.grid(), trading=self.rules.trading)

    def baselines(self) -> Mapping[str, Result]:
        """What the network must beat: a linear model on the same features, holding everything, and doing nothing."""
        shape = self.panel.close.shape
        hold = np.full(shape, np.nan)
        first = np.argmax(np.isfinite(self.panel.close), axis=0)
        hold[first, np.arange(shape[1])] = 1.0
        linear = self.kernel(self.exposures(self.session("linear")))
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
