"""Claim: 10,000 symbol-years of hourly bars, a hundred crossings on each, in under two minutes on two cores with under 4 GB.

`python benchmarks/scale.py [symbols]`: each symbol is ten seeded years, made, swept by `desk.backtest.skipping.sweep` and let go. Two threads share the
symbols. Prints one JSON line; the seconds are those of everything, the making of the bars included.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from _crossing import Crossing
from _peers import peak_mib, workload

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.skipping import sweep, warm_up

YEARS, BARS_A_YEAR, THREADS = 10, 8_760, 2
SYMBOLS = 1_000
GRID = {"fast": list(range(6, 66, 6)), "slow": list(range(72, 372, 30))}
GOAL_S, GOAL_MIB = 120.0, 4_000
ACCOUNT = TradingSettings(initial_cash=100_000, fixed_units=100.0)


def one(seed: int) -> tuple[float, int]:
    """The best final equity of one symbol's hundred points, and how many fills all of them made."""
    minutes, _ = workload(YEARS * BARS_A_YEAR, 1, seed)
    bars = replace(minutes, times=np.datetime64("2014-01-01", "us") + np.arange(YEARS * BARS_A_YEAR) * np.timedelta64(1, "h"))
    table = sweep(bars, Crossing(bars), GRID, CostSettings(), RiskSettings(), trading=ACCOUNT, at_once=Crossing.AT_ONCE)
    return float(table["equity"].to_numpy().max()), int(table["fills"].to_numpy().sum())


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else SYMBOLS
    warm_up()
    began, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(one, range(symbols)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    points = len(GRID["fast"]) * len(GRID["slow"])
    cells = symbols * YEARS * BARS_A_YEAR * points
    met = seconds < GOAL_S and peak_mib() < GOAL_MIB
    line = {
        "name": "scale",
        "value": round(seconds, 1),
        "unit": "s",
        "goal": GOAL_S,
        "met": met,
        "symbol_years": symbols * YEARS,
        "points": points,
        "million_bars_points_per_s": round(cells / seconds / 1e6),
        "cpu_s": round(cpu, 1),
        "threads": THREADS,
        "peak_mib": peak_mib(),
        "fills": sum(fills for _, fills in found),
        "best_equity": max(equity for equity, _ in found),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(line))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
