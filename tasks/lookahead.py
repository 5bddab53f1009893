"""Whether the tested decisions, or what the model to trade has learned, knew of bars to come: rows of the gate, which the report shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl

from configs.learning import LearningSettings
from configs.vocabulary import Timeframe
from desk.backtest.lookahead import Foresight, lookahead
from desk.features import batch, recipe
from desk.session import SessionResult
from tasks.values import Check

# Where the tested bars are cut, as shares of them. Early, because all before a cut is decided again: a leak of any size shows at the first.
CUTS = (0.02, 0.05, 0.1)
# Other bars that follow a cut: more than any forecast speaks of.
AFTER_BARS = 48


def decisions_check(
    bars: pl.DataFrame, starts: datetime, timeframe: Timeframe, session: SessionResult, again: Callable[[pl.DataFrame], SessionResult]
) -> Check:
    """The session's targets on `bars`, traded from `starts`, against those of the same session on bars that end early or go on otherwise."""

    def decided(told: SessionResult) -> pl.DataFrame:
        rows = [(target.symbol, target.closed_at - timeframe.delta, target.exposure) for target in told.targets]
        return pl.DataFrame(rows, schema={"symbol": pl.String, "open_time": pl.Datetime("us", "UTC"), "exposure": pl.Float64}, orient="row")

    tested = bars.filter(pl.col("open_time") >= starts)["open_time"].unique().sort()
    cuts = [tested[int(len(tested) * share)] for share in CUTS]
    found = lookahead(lambda frame: decided(again(frame)), bars, cuts, whole=decided(session), after_bars=AFTER_BARS)
    return _row("no look-ahead in decisions", found)


def learning_check(bars: pl.DataFrame, starts: datetime, learning: LearningSettings) -> Check:
    """What the model to trade, tested from `starts` on, begins to learn, against what it learns where every bar from there on is another."""
    from models.walk import glimpse, spans
    from models.windows import build

    chosen = recipe.load(learning.recipe)

    def learned(frame: pl.DataFrame) -> pl.DataFrame:
        table = build(batch.compute(chosen, frame), frame, learning.horizon_bars)
        seen, network, linear = glimpse(table, list(spans(len(table.times), learning))[-1], learning)
        row, column = np.nonzero(np.isfinite(seen.closes))
        symbols, times = pl.Series(seen.symbols).gather(column), pl.Series(seen.times[row]).dt.replace_time_zone("UTC")
        return pl.DataFrame({"symbol": symbols, "open_time": times, "network": network[row, column], "linear": linear[row, column]})

    return _row("no look-ahead in learning", lookahead(learned, bars, [starts], ending=False))


def _row(name: str, found: Foresight) -> Check:
    return Check(name=name, found=found.words, needed="nothing that changes with bars to come", passed=found.passed)
