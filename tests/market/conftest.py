"""For tests of the market room: bars that are valid, deterministic, of any range of hours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

MakeHours = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def make_hours() -> MakeHours:
    """`make_hours(first, last, symbols)`: hourly bars from hour `first` to before hour `last` of 2024; equal arguments, equal bars."""

    def make(first: int, last: int, symbols: tuple[str, ...] = ("BTC/USDT",)) -> pl.DataFrame:
        hours = pl.select(pl.int_range(first, last).alias("hour")).with_columns((100.0 + pl.col("hour") % 13).alias("open"))
        bars = hours.select(
            pl.lit("1h").alias("timeframe"),
            (pl.lit(datetime(2024, 1, 1, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")) + pl.col("hour") * timedelta(hours=1)).alias("open_time"),
            pl.col("open"),
            (pl.col("open") + 2).alias("high"),
            (pl.col("open") - 1).alias("low"),
            (pl.col("open") + 1).alias("close"),
            (pl.col("hour") % 7).cast(pl.Float64).alias("volume"),
        )
        return pl.concat(bars.select(pl.lit(symbol).alias("symbol"), pl.all()) for symbol in sorted(symbols))

    return make
