"""From nothing to the first result: a process that starts, imports, reads a million bars from disk and plays them (W1), everything compiled before.

Against the same of vectorbt's Rust engine, each a process of its own, in turn; wall times and their ratio. Also the first call ever, nothing compiled.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _peers import FOLDER, PYTHON, keep, workload

BARS, ROUNDS = 1_000_000, 5
GOAL, GOAL_FIRST_S = 0.30, 5.0
ROOT = Path(__file__).resolve().parents[1]
OURS = """
import sys
import numpy as np
from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
arrays = np.load(sys.argv[1])
prices = [arrays[name] for name in ("open", "high", "low", "close", "volume")]
times = np.datetime64("2022-01-01", "us") + np.arange(len(prices[0])) * np.timedelta64(1, "m")
costs = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
limits = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
account = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)
result = simulate(Panel(times, ("S00/USDT",), *prices), arrays["exposure"], costs, limits, trading=account)
print(result.equity[-1], result.measures["sharpe"], result.measures["max_drawdown"])
"""
THEIRS = """
import sys
from serve import market, vectorbt
print(vectorbt(market(sys.argv[1]), "rust")())
"""


def wall(command: list[str], folder: Path, cache: str | None = None) -> float:
    """Seconds of a whole process."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **({"TRADEWIND_CACHE": cache} if cache else {})}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def tell(name: str, value: float, unit: str, goal: float, **detail: float | str) -> bool:
    """One line."""
    line = {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "met": value <= goal, **detail, "load": os.getloadavg()[0]}
    print(json.dumps(line), flush=True)
    return value <= goal


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = keep(*workload(BARS, 1), Path(folder) / "w1.npz")
        ours, theirs = [sys.executable, "-c", OURS, arrays], [str(PYTHON), "-c", THEIRS, arrays]
        fresh = wall(ours, ROOT, str(Path(folder) / "cache"))
        warm = wall(ours, ROOT, str(Path(folder) / "cache"))
        met = tell("cold.first_call", fresh - warm, "s", GOAL_FIRST_S, process_s=round(fresh, 2))
        if not PYTHON.exists():
            sys.stderr.write("benchmarks/cold.py: the peers are not installed: make bench-peers\n")
            return 0 if met else 1
        wall(theirs, FOLDER)
        pairs = [(wall(ours, ROOT, str(Path(folder) / "cache")), wall(theirs, FOLDER)) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / their for mine, their in pairs)
    seconds = [round(statistics.median(side), 2) for side in zip(*pairs, strict=True)]
    met = tell("cold.process", ratio, "of the peer's wall time", GOAL, peer="vectorbt:rust", seconds=seconds[0], peer_seconds=seconds[1]) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
