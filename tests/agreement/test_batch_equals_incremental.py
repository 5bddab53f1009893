"""The promise: a feature computed over history and one computed bar by bar are the same number."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.vocabulary import Timeframe
from desk.events import Bar
from desk.features import batch
from desk.features.incremental import Stream
from desk.features.recipe import load

CANDLES = "binance_spot_1h_15coins_2017_2022-10.parquet"


def _streamed(bars):
    """Feature rows of a bars frame of one symbol, bar by bar: [time, feature], float64 and float32."""
    precise, rounded = Stream(load("core")), Stream(load("core"))
    closed = [Bar(symbol, Timeframe(timeframe), *rest) for symbol, timeframe, *rest in bars.select(list(batch.BAR_COLUMNS)).iter_rows()]
    return np.array([precise.update_precise(bar) for bar in closed]), np.array([rounded.update(bar) for bar in closed])


def _assert_equal(bars):
    precise, rounded = _streamed(bars)
    names = load("core").names

    np.testing.assert_allclose(precise, batch.precise(load("core"), bars).select(names).to_numpy(), rtol=1e-9, atol=0.0)
    np.testing.assert_array_max_ulp(rounded[128:], batch.compute(load("core"), bars).select(names).to_numpy()[128:], maxulp=1)


@st.composite
def unruly_bars(draw):
    """140 to 220 bars with holes in time, runs without trades, flat runs and jumps of up to a factor of a million."""
    n_bars = draw(st.integers(140, 220))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    moves = random.normal(0.0, draw(st.sampled_from([1e-9, 1e-4, 1e-2, 0.3])), n_bars)
    for at, size in draw(st.lists(st.tuples(st.integers(0, n_bars - 1), st.floats(-14.0, 14.0)), max_size=4)):
        moves[at] = size
    volume = random.lognormal(draw(st.floats(-8.0, 14.0)), 2.0, n_bars)
    for at, length in draw(st.lists(st.tuples(st.integers(0, n_bars - 1), st.integers(1, 90)), max_size=3)):
        moves[at : at + length] = 0.0
        volume[at : at + length] = 0.0 if length % 2 else 3.25
    gaps = np.where(random.random(n_bars) < draw(st.sampled_from([0.0, 0.1])), random.integers(1, 60, n_bars), 0)
    close = draw(st.sampled_from([1e-6, 1.0, 40_000.0])) * np.exp(np.cumsum(moves))
    span = np.where(moves == 0.0, 0.0, np.abs(random.normal(0.0, 0.01, n_bars)))
    times = [datetime(2021, 3, 5, tzinfo=UTC) + timedelta(hours=int(hours)) for hours in np.cumsum(1 + gaps)]
    prices = {"open": close, "high": close * (1 + span), "low": close / (1 + span), "close": close, "volume": volume}
    return pl.DataFrame({"symbol": "BTC/USDT", "timeframe": "1h", "open_time": times, **prices}, schema_overrides={"open_time": pl.Datetime("us", "UTC")})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(unruly_bars())
def test_batch_equals_incremental_on_any_bars(bars):
    _assert_equal(bars)


@pytest.mark.data
@pytest.mark.skipif("TRADEWIND_DATA" not in os.environ, reason="TRADEWIND_DATA names no folder of real candles")
@pytest.mark.parametrize("symbol", ["ETH/USDT", "CHZ/USDT"])
def test_batch_equals_incremental_on_real_candles(symbol):
    candles = (
        pl.scan_parquet(Path(os.environ["TRADEWIND_DATA"]) / "candles" / CANDLES).filter(pl.col("symbol") == symbol).collect().sort("open_time").head(8000)
    )

    _assert_equal(candles.with_columns(pl.from_epoch("open_time", time_unit="ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")))
