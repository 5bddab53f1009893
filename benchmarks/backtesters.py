"""The kernel's public call against other backtesters on the same bars and exposures (make bench-peers installs them).

One JSON line a workload and peer. Peers run in a process of their own, in turn with ours; each side takes its own time and medians are
told. Slow peers play a shorter beginning of the same bars and are compared by bars per second. Without their environment nothing is run.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _peers import PYTHON, keep, peers, workload
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel

COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
ACCOUNT = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)
# W4: one unit, left at a loss of .5 % or a gain of 1 % within the bar; no way back in before the next flip.
STOPS = TradingSettings(initial_cash=10_000_000, fixed_units=1.0, protective_stop=0.005, take_profit=0.01)


@dataclass(frozen=True)
class Match:
    """One peer on one workload: how many bars it plays, how often, and how many times faster we mean to be."""

    workload: str
    peer: str
    bars: int
    rounds: int
    goal: float


MATCHES = (
    Match("W1", "vectorbt:rust", 1_000_000, 7, 18),
    Match("W1", "vectorbt:numba", 1_000_000, 7, 18),
    Match("W1", "raptorbt", 1_000_000, 7, 10),
    Match("W1", "backtesting", 50_000, 2, 800),
    Match("W1", "backtrader", 20_000, 2, 6_000),
    Match("W4", "vectorbt_stops:rust", 1_000_000, 5, 15),
    Match("W4", "vectorbt_stops:numba", 1_000_000, 5, 15),
    Match("W4", "raptorbt_stops", 1_000_000, 5, 9),
    Match("W3", "vectorbt:rust", 100_000, 5, 50),
    Match("W3", "vectorbt:numba", 100_000, 5, 50),
)


def flips(exposure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exposures only where they change, NaN elsewhere."""
    before = np.vstack([np.zeros((1, exposure.shape[1])), exposure[:-1]])
    return np.where(exposure != before, exposure, np.nan)


def measure(match: Match, play: Callable[[], tuple[float, float]], bars: int, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ours (on `bars`) and the peer's in turn; the first round warms both up."""
    ours, theirs, equity, fills = [], [], 0.0, 0.0
    for _ in range(match.rounds + 1):
        theirs.append(ask())
        began = time.perf_counter()
        equity, fills = play()
        ours.append(time.perf_counter() - began)
    value, peer_value = statistics.median(ours[1:]) / bars * 1e9, statistics.median(answer["seconds"] for answer in theirs[1:]) / match.bars * 1e9
    return {
        "name": f"backtesters.{match.workload}",
        "value": round(value, 2),
        "unit": "ns/bar",
        "peer": match.peer,
        "peer_value": round(peer_value, 1),
        "ratio": round(peer_value / value, 1),
        "goal": match.goal,
        "met": peer_value / value >= match.goal,
        "peer_bars": match.bars,
        "equity": equity,
        "fills": int(fills),
        "peer_equity": theirs[-1]["equity"],
        "peer_fills": theirs[-1]["fills"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peer_peak_mib": theirs[-1]["peak_mib"],
    }


def main(*asked: str) -> int:
    """Measure and print, those workloads that were asked for; 1 when a goal is missed."""
    if not PYTHON.exists():
        sys.stderr.write("benchmarks/backtesters.py: skipped, the peers are not installed: make bench-peers\n")
        return 0
    single, many = workload(1_000_000, 1), workload(100_000, 20)
    markets = {"W1": (*single, ACCOUNT), "W3": (*many, ACCOUNT), "W4": (*single, STOPS)}
    chosen = [match for match in MATCHES if not asked or match.workload in asked]
    met = True
    with tempfile.TemporaryDirectory() as folder:
        for match in chosen:
            panel, exposure, account = markets[match.workload]
            path = keep(panel, exposure, Path(folder) / f"{match.workload}-{match.bars}.npz", match.bars)

            targets = flips(exposure) if match.workload == "W4" else exposure

            def play(panel: Panel = panel, targets: Any = targets, account: TradingSettings = account) -> tuple[float, float]:
                result = simulate(panel, targets, COSTS, LIMITS, trading=account)
                return float(result.equity[-1]), result.measures["fills"]

            # A process for each: the memory told is this peer's alone.
            with peers() as ask:
                line = measure(match, play, len(panel.times), lambda path=path, peer=match.peer, ask=ask: ask(peer, path))
            met = met and line["met"]
            print(json.dumps(line), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
