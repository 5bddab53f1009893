"""Bars for proofs about features: a random walk with holes, jumps and quiet stretches, one market a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl


def market(seed: int, symbols: tuple[str, ...], n_bars: int) -> pl.DataFrame:
    """A bars frame of hourly bars, sorted by symbol and time."""
    chance, rows = np.random.default_rng(seed), []
    for symbol in symbols:
        moves = chance.standard_t(3, n_bars) * chance.choice([1e-4, 0.004, 0.03])
        quiet = int(chance.integers(0, n_bars - 20))
        moves[quiet : quiet + 20] *= chance.choice([0.0, 1.0])
        close = chance.choice([1e-5, 1.0, 40_000.0]) * np.exp(np.cumsum(moves))
        volume = chance.lognormal(6.0, 2.0, n_bars) * (moves != 0)
        hours = np.cumsum(1 + np.where(chance.random(n_bars) < 0.02, chance.integers(1, 30, n_bars), 0))
        for hour, price, move, traded in zip(hours, close, moves, volume, strict=True):
            opened, span = price * np.exp(-move), 1 + abs(move) / 2
            row = (opened, max(opened, price) * span, min(opened, price) / span, price, traded)
            rows.append((symbol, "1h", datetime(2021, 1, 1, tzinfo=UTC) + timedelta(hours=int(hour)), *row))
    names = ["symbol", "timeframe", "open_time", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("open_time").dt.cast_time_unit("us"))
