"""What guards, partial fills, grids and exact cash cost: the kernel's public call against a bare accounting loop on the same million bars (W1).

Prints one JSON line. The peer is the least that tells the same story: hold one unit or none, trade at the next open at a constant
cost, mark at the close, keep the curve, the fills, the drawdown and the Sharpe ratio. Both compiled, both make what they return, same process,
alternating; medians are told, and the ratio of a pair's times.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from typing import Any

import numba
import numpy as np
from _peers import workload

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate

GOAL_RATIO = 1.5
BARS = 1_000_000
ROUNDS = 31
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
ACCOUNT = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)


@numba.njit(nogil=True, error_model="numpy")
def _bare(open_: Any, close: Any, exposure: Any, cash: float) -> Any:
    """Equity, bar and units of each fill, the largest drawdown, and the Sharpe ratio per bar."""
    curve, bar, units = np.empty(len(close)), np.empty(len(close), np.int32), np.empty(len(close))
    held = wanted = peak = worst = total = squares = 0.0
    before, count = cash, 0
    for row in range(len(close)):
        if wanted != held:
            delta = wanted - held
            price = open_[row] * (1 + (0.0005 if delta > 0 else -0.0005))
            cash -= delta * price + abs(delta) * price * 0.001
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
        wanted = exposure[row]
    mean = total / len(close)
    return curve, bar[:count], units[:count], worst, mean / np.sqrt(squares / len(close) - mean * mean)


def main() -> int:
    """Measure and print; 1 when the goal is missed."""
    panel, exposure = workload(BARS, 1)
    columns = [array[:, 0].copy() for array in (panel.open, panel.close, exposure)]
    began = time.perf_counter()
    filled = len(simulate(panel, exposure, COSTS, LIMITS, trading=ACCOUNT).fills)
    first_call_s = time.perf_counter() - began
    ours, peer = [], []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        result = simulate(panel, exposure, COSTS, LIMITS, trading=ACCOUNT)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        bare = _bare(*columns, float(ACCOUNT.initial_cash))
        peer.append(time.perf_counter() - began)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours[1:], peer[1:], strict=True))
    line = {
        "name": "kernel.million_bars",
        "value": round(statistics.median(ours[1:]) * 1e3, 2),
        "unit": "ms",
        "peer": "bare numba accounting loop",
        "peer_value": round(statistics.median(peer[1:]) * 1e3, 2),
        "ratio": round(ratio, 2),
        "goal": GOAL_RATIO,
        "met": ratio <= GOAL_RATIO,
        "fills": filled,
        "equity_apart": abs(float(result.equity[-1] / bare[0][-1]) - 1),
        "first_call_s": round(first_call_s, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(line))
    return 0 if line["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
