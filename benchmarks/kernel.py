"""What guards, partial fills, grids and exact cash cost: the kernel's loop against a bare accounting loop on the same million bars.

Prints one JSON line. The peer is the least that tells the same story: hold the weight within the same band, trade at the next open at a
constant cost, mark at the close, keep the curve, the fills, the drawdown and the Sharpe ratio. Both compiled, same process, alternating;
medians are told.
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
ROUNDS = 31
WHOLE_ROUNDS = 5
COSTS = CostSettings(fee_rate=1e-4, half_spread_bps=0.5)
LIMITS = RiskSettings(max_position_weight=1.0, max_drawdown=1.0)


@numba.njit(nogil=True, error_model="numpy")
def _bare(market: Any, room: Any, cost: float, cash: float, share: float, band: float) -> tuple[int, float, float]:
    """How many fills, the largest drawdown, and the Sharpe ratio per bar; equity, bar and units of each fill go into `room`."""
    open_, close, exposure = market
    curve, bar, units = room
    held = wanted = peak = worst = total = squares = 0.0
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
        weight = exposure[row] * share
        if weight == 0.0 or abs(weight - held * close[row] / equity) >= band:
            wanted = weight * equity / close[row]
    mean = total / len(close)
    return count, worst, mean / np.sqrt(squares / len(close) - mean * mean)


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
    columns = (panel.open[:, 0].copy(), panel.close[:, 0].copy(), exposure[:, 0].copy())
    room = (np.empty(BARS), np.empty(BARS, np.int32), np.empty(BARS))
    ours, peer, whole = [], [], []
    cost = COSTS.fee_rate + COSTS.half_spread_bps * 1e-4
    for _ in range(ROUNDS + 1):
        run = stage.run(exposure)
        began = time.perf_counter()
        compiled.play()(run)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        _bare(columns, room, cost, float(account.initial_cash), account.gross_weight, account.rebalance_band)
        peer.append(time.perf_counter() - began)
    for _ in range(WHOLE_ROUNDS):
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
        "whole_call_ms": round(statistics.median(whole) * 1e3, 1),
        "first_call_s": round(first_call_s, 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
