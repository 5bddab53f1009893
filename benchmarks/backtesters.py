"""The kernel's public call against other backtesters on the same bars and exposures (make bench-peers installs them).

One JSON line a workload and peer. Peers run in a process of their own, in turn with ours; each side takes its own time. A round is a few runs of the
one, then a few of the other, and counts by its medians, so that neither pays for caches the other filled; the ratio told is the median of the rounds'.
Slow peers play once a round, a shorter beginning of the same bars, and are compared by bars per second. A goal is met only where both filled the same
number of orders on the same bars. A peer that is not installed is left out.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _peers import interpreter, keep, kept, peak_mib, peers, workload
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


ACCOUNTS = {"W1": ACCOUNT, "W3": ACCOUNT, "W4": STOPS}
# Runs of ours in a round.
OURS = 5


@dataclass(frozen=True)
class Match:
    """One peer on one workload: how many bars it plays, in how many rounds, how many times faster we mean to be (0: none), and how often it plays a round."""

    workload: str
    peer: str
    bars: int
    rounds: int
    goal: float = 0
    plays: int = 1


MATCHES = (
    Match("W1", "vectorbt:rust", 1_000_000, 7, 18, 5),
    Match("W1", "vectorbt:numba", 1_000_000, 7, 18, 5),
    Match("W1", "raptorbt", 1_000_000, 7, 10, 5),
    Match("W1", "backtesting", 200_000, 3, 800),
    Match("W1", "backtrader", 50_000, 3, 6_000),
    Match("W1", "nautilus", 50_000, 3, 6_000),
    Match("W1", "freqtrade", 200_000, 3, 6_000),
    Match("W4", "vectorbt_stops:rust", 1_000_000, 5, 15, 5),
    Match("W4", "vectorbt_stops:numba", 1_000_000, 5, 15, 5),
    Match("W4", "raptorbt_stops", 1_000_000, 5, 9, 5),
    Match("W4", "nautilus_stops", 50_000, 3),
    Match("W4", "freqtrade_stops", 200_000, 2),
    Match("W3", "vectorbt:rust", 100_000, 5, 50, 3),
    Match("W3", "vectorbt:numba", 100_000, 5, 50, 3),
    Match("W3", "freqtrade", 10_000, 2),
)


def flips(exposure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exposures only where they change, NaN elsewhere."""
    before = np.vstack([np.zeros((1, exposure.shape[1])), exposure[:-1]])
    return np.where(exposure != before, exposure, np.nan)


class Side:
    """Ours on one workload."""

    def __init__(self, workload: str, panel: Panel, exposure: NDArray[np.float64]) -> None:
        self.panel, self.account = panel, ACCOUNTS[workload]
        self.targets = flips(exposure) if workload == "W4" else exposure

    def play(self) -> tuple[float, int]:
        """Last equity and number of fills."""
        result = simulate(self.panel, self.targets, COSTS, LIMITS, trading=self.account)
        return float(result.equity[-1]), int(result.measures["fills"])

    def beginning(self, bars: int) -> tuple[float, int]:
        """The same on the bars that a peer plays."""
        columns = {name: getattr(self.panel, name)[:bars] for name in ("times", "open", "high", "low", "close", "volume")}
        result = simulate(replace(self.panel, **columns), self.targets[:bars], COSTS, LIMITS, trading=self.account)
        return float(result.equity[-1]), int(result.measures["fills"])

    def clocked(self) -> tuple[float, float]:
        """Wall and processor seconds of one call, as a peer tells them."""
        began, worked = time.perf_counter(), time.process_time()
        self.play()
        return time.perf_counter() - began, time.process_time() - worked


def middle(runs: list[tuple[float, float]], bars: int) -> tuple[float, float]:
    """Medians of wall and processor nanoseconds a bar."""
    return statistics.median(wall for wall, _ in runs) / bars * 1e9, statistics.median(cpu for _, cpu in runs) / bars * 1e9


def measure(match: Match, side: Side, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Both in turn; the first round warms both up."""
    rounds, answer = [], ask()
    side.play()
    for _ in range(match.rounds):
        answers = [ask() for _ in range(match.plays)]
        # Once a round: nothing of ours refers to itself. A peer's garbage is collected before each of its plays, untimed: it would be slower otherwise.
        gc.collect()
        theirs = middle([(found["seconds"], found["cpu_seconds"]) for found in answers], match.bars)
        rounds.append((theirs, middle([side.clocked() for _ in range(OURS)], len(side.panel.times))))
        answer = answers[-1]
    ratio, ratio_cpu = (statistics.median(theirs[clock] / ours[clock] for theirs, ours in rounds) for clock in (0, 1))
    value, peer_value = (statistics.median(pair[place][0] for pair in rounds) for place in (1, 0))
    equity, fills = side.beginning(match.bars)
    return {
        "name": f"backtesters.{match.workload}",
        "value": round(value, 2),
        "unit": "ns/bar",
        "peer": match.peer,
        "peer_value": round(peer_value, 1),
        "ratio": round(ratio, 1),
        "ratio_cpu": round(ratio_cpu, 1),
        "goal": match.goal,
        "met": ratio >= match.goal and fills == answer["fills"],
        "peer_bars": match.bars,
        "equity": equity,
        "fills": fills,
        "peer_equity": answer["equity"],
        "peer_fills": answer["fills"],
        "peer_peak_mib": answer["peak_mib"],
        "load": round(os.getloadavg()[0], 1),
    }


def alone(workload: str, path: str) -> int:
    """What a process of ours takes that reads the bars as a peer does and plays once."""
    Side(workload, *kept(path)).play()
    print(peak_mib())
    return 0


def main(*asked: str) -> int:
    """Measure and print, those workloads and peers that were asked for; 1 when a goal is missed."""
    markets = {"W1": workload(1_000_000, 1), "W3": workload(100_000, 20)}
    markets["W4"] = markets["W1"]
    chosen = [match for match in MATCHES if not asked or match.workload in asked or match.peer in asked]
    met = True
    with tempfile.TemporaryDirectory() as folder:
        for match in chosen:
            python = interpreter(match.peer)
            if not python.exists():
                sys.stderr.write(f"benchmarks/backtesters.py: {match.workload} {match.peer} left out, it is not installed: make bench-peers\n")
                continue
            market = markets[match.workload]
            path = keep(*market, Path(folder) / f"{match.workload}-{match.bars}.npz", match.bars)
            whole = keep(*market, Path(folder) / f"{match.workload}.npz")
            ours = subprocess.run([sys.executable, __file__, "alone", match.workload, whole], stdout=subprocess.PIPE, text=True, check=True)
            # A process for each: the memory told is this peer's alone.
            with peers(python) as ask:
                line = measure(match, Side(match.workload, *market), lambda path=path, peer=match.peer, ask=ask: ask(peer, path))
            met = met and line["met"]
            print(json.dumps({**line, "peak_mib": int(ours.stdout)}), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(alone(*sys.argv[2:]) if sys.argv[1:2] == ["alone"] else main(*sys.argv[1:]))
