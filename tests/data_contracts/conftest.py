"""Bars for contract tests: small, valid, and easy to break in one place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)


def hourly_bars(count: int = 6, symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")) -> pl.DataFrame:
    """Bars that keep the contract: `count` hours per symbol, each its own prices."""
    rows = [
        {
            "symbol": symbol,
            "timeframe": "1h",
            "open_time": START + timedelta(hours=hour),
            "open": 100.0 + hour,
            "high": 103.0 + hour,
            "low": 99.0 + hour,
            "close": 101.0 + hour * (1 + 0.001 * (hour % 7)),
            "volume": 10.0 + hour % 5,
        }
        for symbol in symbols
        for hour in range(count)
    ]
    return pl.DataFrame(rows, schema_overrides={"open_time": pl.Datetime("us", "UTC")})


@pytest.fixture
def make_bars() -> Callable[..., pl.DataFrame]:
    """`make_bars(count, symbols)`: bars that keep the contract."""
    return hourly_bars
