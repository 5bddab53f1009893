"""Holes in the grid of bars: found and named, never filled.

A venue that prints no bar for a minute without trades leaves holes too; whether a hole is an outage is the reader's judgement.
"""

from __future__ import annotations

import polars as pl

from configs.vocabulary import Timeframe


def find_gaps(bars: pl.DataFrame) -> pl.DataFrame:
    """Every hole within a symbol's own span: (symbol, after, before, missing_bars), where `after` and `before` are the open times of the bars around it.

    Expects a bars frame of one or more timeframes; sorted by (symbol, after). Nothing is said about time before a symbol's first bar or after its last.
    """
    lengths = {timeframe.value: timeframe.milliseconds * 1000 for timeframe in Timeframe}
    step = pl.col("timeframe").replace_strict(list(lengths), list(lengths.values()), return_dtype=pl.Int64)
    before = pl.col("open_time").shift(-1).over("symbol", "timeframe")
    missing = (before - pl.col("open_time")).dt.total_microseconds() // step - 1
    holes = bars.sort("symbol", "timeframe", "open_time").select(
        "symbol", pl.col("open_time").alias("after"), before.alias("before"), missing.alias("missing_bars")
    )
    return holes.filter(pl.col("missing_bars") > 0).sort("symbol", "after")


def summary(gaps: pl.DataFrame) -> str:
    """One sentence about a frame of gaps: how many, how long in all, and the longest."""
    if gaps.is_empty():
        return "no gaps"
    longest = gaps.sort("missing_bars", "symbol", "after", descending=[True, False, False]).row(0, named=True)
    span = f"{longest['symbol']} {longest['after']:%Y-%m-%d %H:%M} to {longest['before']:%Y-%m-%d %H:%M} UTC"
    return f"{gaps.height} gap{'s' if gaps.height > 1 else ''}, {gaps['missing_bars'].sum()} bars missing; the longest: {longest['missing_bars']} bars, {span}"
