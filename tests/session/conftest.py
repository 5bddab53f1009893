"""A small market for session tests: seeded bars on a real grid, and a rule that trades often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from desk.instruments import Instrument
from desk.modes import Setup
from desk.strategy.policy import Policy, View

START = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


@dataclass(frozen=True)
class Crossover:
    """Long while the short average is above the long one."""

    short: int = 3
    long: int = 8

    @property
    def warmup_bars(self) -> int:
        return self.long

    def target(self, view: View) -> float:
        return float(view.closes[-self.short :].mean() > view.closes.mean())


@pytest.fixture
def instruments() -> dict[str, Instrument]:
    return {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in SYMBOLS}


@pytest.fixture
def make_bars() -> Callable[..., pl.DataFrame]:
    """`make_bars(n, seed=1, volume=1e4)`: n hourly bars a symbol, a random walk from 100."""

    def make(n: int, seed: int = 1, volume: float = 1e4) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        frames = []
        for symbol in SYMBOLS:
            close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
            opens = np.concatenate([[100.0], close[:-1]])
            columns = {"open": opens, "high": np.maximum(opens, close) * 1.001, "low": np.minimum(opens, close) * 0.999, "close": close}
            times = pl.Series("open_time", [START + timedelta(hours=i) for i in range(n)], dtype=pl.Datetime("us", "UTC"))
            frame = pl.DataFrame({**columns, "volume": rng.uniform(0.5, 1.5, n) * volume})
            frames.append(frame.select(pl.lit(symbol).alias("symbol"), pl.lit("1h").alias("timeframe"), times, *frame.columns))
        return pl.concat(frames)

    return make


@pytest.fixture
def make_setup(instruments: dict[str, Instrument]) -> Callable[..., Setup]:
    """`make_setup(policy=..., trading=..., risk=...)` with sensible defaults."""

    def make(policy: Policy | None = None, trading: TradingSettings | None = None, risk: RiskSettings | None = None) -> Setup:
        return Setup("session-1", "settings-1", instruments, policy or Crossover(), trading or TradingSettings(), risk or RiskSettings())

    return make
