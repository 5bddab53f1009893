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

from _peers import PYTHON, keep, peers, workload

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate

COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
ACCOUNT = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)


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
    Match("W3", "vectorbt:rust", 100_000, 5, 50),
    Match("W3", "vectorbt:numba", 100_000, 5, 50),
)


def measure(match: Match, play: Callable[[], float], bars: int, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ours (on `bars`) and the peer's in turn; the first round warms both up."""
    ours, theirs = [], []
    for _ in range(match.rounds + 1):
        theirs.append(ask())
        began = time.perf_counter()
        equity = play()
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
        "peer_equity": theirs[-1]["equity"],
        "peer_fills": theirs[-1]["fills"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peer_peak_mib": theirs[-1]["peak_mib"],
    }


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    if not PYTHON.exists():
        sys.stderr.write("benchmarks/backtesters.py: skipped, the peers are not installed: make bench-peers\n")
        return 0
    markets = {"W1": workload(1_000_000, 1), "W3": workload(100_000, 20)}
    met = True
    with tempfile.TemporaryDirectory() as folder:
        for match in MATCHES:
            panel, exposure = markets[match.workload]
            path = keep(panel, exposure, Path(folder) / f"{match.workload}-{match.bars}.npz", match.bars)

            def play(panel: Any = panel, exposure: Any = exposure) -> float:
                result = simulate(panel, exposure, COSTS, LIMITS, trading=ACCOUNT)
                return float(result.equity[-1])

            # A process for each: the memory told is this peer's alone.
            with peers() as ask:
                line = measure(match, play, len(panel.times), lambda path=path, peer=match.peer, ask=ask: ask(peer, path))
            met = met and line["met"]
            print(json.dumps(line), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
