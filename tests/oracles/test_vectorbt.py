"""The kernel against an independent backtester: equal assumptions, equal money."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
PYTHON = FOLDER / ".venv" / "bin" / "python"
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10.0, max_gross_weight=10.0, max_drawdown=1.0, max_daily_loss=1.0)


def hourly(seed: int, rows: int, assets: int) -> Panel:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.002, (rows, assets)), axis=0))
    open_ = close * np.exp(random.normal(0.0, 0.001, close.shape))
    times = np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(1, "h")
    symbols = tuple(f"S{asset}/USDT" for asset in range(assets))
    return Panel(times, symbols, open_, np.maximum(open_, close), np.minimum(open_, close), close, np.full(close.shape, 1e9))


@pytest.fixture(scope="module")
def ask() -> Callable[[str], dict[str, float]]:
    if not PYTHON.exists():
        pytest.skip("the packages to compare with are not installed: make oracles")

    def answer(arrays: str) -> dict[str, float]:
        words = json.dumps({"peer": "vectorbt:numba", "arrays": arrays}) + "\n"
        ran = subprocess.run([PYTHON, "serve.py"], cwd=FOLDER, input=words, capture_output=True, text=True, timeout=110, check=True)
        found: dict[str, float] = json.loads(ran.stdout)
        return found

    return answer


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("assets", [1, 3])
def test_the_same_flips_leave_the_same_money(ask: Callable[[str], dict[str, float]], tmp_path: Path, assets: int) -> None:
    """One unit held or not, filled at the next open, 10 bps of fee and 5 of slippage, shared cash: final equity to 1e-9."""
    bars = hourly(7, 20_000, assets)
    exposure = (np.cumsum(np.random.default_rng(8).random(bars.close.shape) < 0.02, axis=0) % 2).astype(float)
    np.savez(tmp_path / "bars.npz", exposure=exposure, open=bars.open, high=bars.high, low=bars.low, close=bars.close, volume=bars.volume)
    account = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)

    ours = simulate(bars, exposure, COSTS, LIMITS, trading=account)
    theirs = ask(str(tmp_path / "bars.npz"))

    assert theirs["fills"] == len(ours.fills)
    assert theirs["equity"] == pytest.approx(ours.equity[-1], rel=1e-9)
