"""Against markets whose spread and volatility are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from desk.backtest.calibration import calibrate, half_spread_from_bars
from desk.backtest.panel import Panel

STEPS = 60


def bounced(seed: int, bars: int, spread_bps: float, step_sd: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and close of bars of 60 trades that hit bid or ask by a coin around a random walk; `spread_bps` is half the spread."""
    random = np.random.default_rng(seed)
    efficient = np.cumsum(random.normal(0, step_sd, bars * STEPS))
    trades = np.exp(efficient + spread_bps * 1e-4 * random.choice([-1, 1], bars * STEPS)).reshape(bars, STEPS)
    return trades.max(axis=1), trades.min(axis=1), trades[:, -1]


@pytest.mark.parametrize("spread_bps", [20.0, 50.0])
def test_a_planted_spread_is_found(spread_bps: float) -> None:
    found, bound = half_spread_from_bars(*bounced(1, 8000, spread_bps, 1e-4))

    assert pytest.approx(spread_bps, rel=0.1) == found
    assert found < bound


def test_a_spread_that_volatility_drowns_is_bounded() -> None:
    bounds = [half_spread_from_bars(*bounced(seed, 2000, 2.0, 1e-3))[1] for seed in range(20)]

    assert sum(bound >= 2.0 for bound in bounds) >= 17


def test_impact_is_the_volatility_of_a_bar_and_bars_that_are_missing_are_left_out() -> None:
    high, low, close = (values[:, None] for values in bounced(2, 4000, 0.0, 1e-3))
    close[100:110] = high[100:110] = low[100:110] = math.nan
    times = np.datetime64("2024-01-01", "us") + np.arange(4000) * np.timedelta64(1, "h")

    told = calibrate(Panel(times, ("A",), close, high, low, close, close))

    assert pytest.approx(math.sqrt(STEPS) * 1e-3 * 1e4, rel=0.05) == told.impact_bps
    assert told.half_spread_bps <= told.half_spread_at_most_bps


def test_too_few_bars_say_nothing() -> None:
    high, low, close = bounced(3, 20, 10.0, 1e-4)
    times = np.datetime64("2024-01-01", "us") + np.arange(20) * np.timedelta64(1, "h")

    told = calibrate(Panel(times, ("A",), *(values[:, None] for values in (close, high, low, close, close))))

    assert all(map(math.isnan, half_spread_from_bars(high, low, close)))
    assert all(map(math.isnan, (told.half_spread_bps, told.half_spread_at_most_bps, told.impact_bps)))
