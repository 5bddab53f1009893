"""What guards, partial fills, grids and exact cash cost: the kernel's loop against a bare accounting loop on the same million bars.

Prints one JSON line. The peer is the least a backtest can do: fill a changed exposure at the next open at a constant cost, mark at the
close, keep the curve, the fills, the drawdown and the Sharpe ratio. Both compiled, same process, alternating; medians are told.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numba
import numpy as np

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.stage import Stage

GOAL_RATIO = 2.5
BARS = 1_000_000
HOLD_BARS = 50
ROUNDS = 15
COSTS = CostSettings(fee_rate=1e-4, half_spread_bps=0.5)
LIMITS = RiskSettings(max_position_weight=1.0, max_drawdown=1.0)


@numba.njit(nogil=True, error_model="numpy")
def _bare(open_: Any, close: Any, exposure: Any, cost: float, cash: float) -> tuple[Any, Any, Any, int, float, float]:
    """Equity [time], bar and units of each fill, how many, the largest drawdown, and the Sharpe ratio per bar."""
    curve, bar, units = np.empty(len(close)), np.empty(len(close), np.int32), np.empty(len(close))
    held = wanted = last = peak = worst = total = squares = 0.0
    before = cash
    count = 0
    for row in range(len(close)):
        if wanted != held:
            delta = wanted - held
            cash -= delta * open_[row] + abs(delta) * open_[row] * cost
            held = wanted
            bar[count], units[count] = row, delta
            count += 1
        equity = cash + held * close[row]
        curve[row] = equity
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
        moved = equity / before - 1
        total += moved
        squares += moved * moved
        before = equity
        if exposure[row] != last:
            last = exposure[row]
            wanted = last * equity / close[row]
    mean = total / len(close)
    return curve, bar, units, count, worst, mean / np.sqrt(squares / len(close) - mean * mean)


def _market() -> tuple[Panel, Any]:
    random = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 5e-4, BARS)))
    open_ = np.concatenate([[100.0], close[:-1]])
    times = np.datetime64("2022-01-01", "us") + np.arange(BARS) * np.timedelta64(1, "m")
    prices = (open_, np.maximum(open_, close), np.minimum(open_, close), close, random.lognormal(9.0, 1.0, BARS))
    exposure = np.repeat(random.choice([0.0, 1.0], BARS // HOLD_BARS), HOLD_BARS)
    return Panel(times, ("BTC/USDT",), *(column[:, None] for column in prices)), exposure[:, None]


def main() -> None:
    """Measure and print."""
    panel, exposure = _market()
    account = TradingSettings()
    began = time.perf_counter()
    filled = len(simulate(panel, exposure, COSTS, LIMITS, trading=account).fills)
    first_call_s = time.perf_counter() - began
    stage = Stage.of(panel, COSTS, LIMITS, instruments=None, trading=account)
    ours, peer, whole = [], [], []
    cost = COSTS.fee_rate + COSTS.half_spread_bps * 1e-4
    for _ in range(ROUNDS + 1):
        run = stage.run(exposure)
        began = time.perf_counter()
        compiled.play()(run)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        _bare(panel.open[:, 0], panel.close[:, 0], exposure[:, 0], cost, float(account.initial_cash))
        peer.append(time.perf_counter() - began)
        began = time.perf_counter()
        simulate(panel, exposure, COSTS, LIMITS, trading=account)
        whole.append(time.perf_counter() - began)
    value, peer_value = statistics.median(ours[1:]) * 1e3, statistics.median(peer[1:]) * 1e3
    line = {
        "name": "kernel.million_bars",
        "value": round(value, 2),
        "unit": "ms",
        "peer": "bare numba accounting loop",
        "peer_value": round(peer_value, 2),
        "ratio": round(value / peer_value, 2),
        "goal": GOAL_RATIO,
        "met": value / peer_value <= GOAL_RATIO,
        "fills": filled,
        "whole_call_ms": round(statistics.median(whole[1:]) * 1e3, 1),
        "first_call_s": round(first_call_s, 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
