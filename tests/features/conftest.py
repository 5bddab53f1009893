"""Made-up candles for the tests of features: plain random walks, a few symbols, one hole in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest


def _walk(symbol: str, n_bars: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, n_bars)))
    open_ = close * np.exp(random.normal(0.0, 0.003, n_bars))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    skipped = n_bars // 2
    return pl.DataFrame(
        {
            "symbol": symbol,
            "timeframe": "1h",
            "open_time": [start + timedelta(hours=i + (7 if i >= skipped else 0)) for i in range(n_bars)],
            "open": open_,
            "high": np.maximum(open_, close) * 1.002,
            "low": np.minimum(open_, close) * 0.998,
            "close": close,
            "volume": random.lognormal(3.0, 1.0, n_bars),
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def walk() -> Callable[[str, int, int], pl.DataFrame]:
    """Bars of one symbol: (symbol, number of bars, seed) -> bars frame."""
    return _walk


@pytest.fixture
def market() -> pl.DataFrame:
    """Bars of three symbols, 400 each, in no particular row order."""
    return pl.concat([_walk("BTC/USDT", 400, 1), _walk("ADA/USDT", 400, 2), _walk("ETH/USDT", 400, 3)]).sample(fraction=1.0, shuffle=True, seed=5)
