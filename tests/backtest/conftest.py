"""Small made-up markets for the tests of the backtest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from configs.risk import RiskSettings
from desk.backtest.panel import Panel

# Limits that never bind: what is not under test stays out of the way.
OPEN_LIMITS = RiskSettings(max_position_weight=100.0, max_gross_weight=100.0, max_drawdown=1.0, max_daily_loss=1.0)


def _market(seed: int, n_rows: int, n_assets: int) -> Panel:
    random = np.random.default_rng(seed)
    shape = (n_rows, n_assets)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, shape), axis=0))
    open_ = close * np.exp(random.normal(0.0, 0.003, shape))
    volume = random.lognormal(6.0, 1.0, shape)
    times = np.datetime64("2024-01-01", "us") + np.arange(n_rows) * np.timedelta64(1, "h")
    symbols = tuple(f"{name}/USDT" for name in ("ADA", "BTC", "ETH", "SOL", "XRP")[:n_assets])
    return Panel(times, symbols, open_, np.maximum(open_, close), np.minimum(open_, close), close, volume)


@pytest.fixture(scope="session")
def market() -> Callable[[int, int, int], Panel]:
    """(seed, rows, assets) -> hourly random walks."""
    return _market


@pytest.fixture(scope="session")
def open_limits() -> RiskSettings:
    return OPEN_LIMITS
