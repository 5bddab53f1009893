"""W2: a thousand crossings of two moving averages over the same 100,000 minutes, signals included, told by `desk.backtest.skipping.sweep`.

One JSON line each: against our own loop (same process, in turn, a part of the points), against the other backtesters (their own process, in turn; not
all points where a matrix of bars and points would not fit), two threads against one, and the memory of a process that does nothing else.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _crossing import GRID, Crossing
from _peers import PYTHON, peak_mib, peers, workload

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import kernel, skipping

BARS = 100_000
POINTS = len(GRID["fast"]) * len(GRID["slow"])
# 200 and 25 of the points. A vectorbt call of the first keeps 2.7 GiB; of the second so little that a point takes it half as long.
MANY, SOME = {**GRID, "slow": GRID["slow"][2::5]}, {"fast": GRID["fast"][2::5], "slow": GRID["slow"][2::8]}
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
ACCOUNT = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)
GOAL_LOOP, GOAL_THREADS, GOAL_MIB = 3.0, 1.7, 250
# What a float loses of a mark of 1e7 where a bar moves it by a twentieth.
ROUNDED = 1e-7
# Runs of ours in a round.
OURS = 3


class Match(NamedTuple):
    """One peer: the points it plays, how many times faster we mean to be by how many threads (0: none), in how many rounds."""

    peer: str
    grid: Mapping[str, list[int]]
    goal: float
    threads: int
    rounds: int


MATCHES = (
    Match("vectorbt_sweep:rust", MANY, 300.0, 1, 3),
    Match("vectorbt_sweep:numba", MANY, 300.0, 1, 3),
    Match("vectorbt_sweep:rust", SOME, 0.0, 1, 5),
    Match("vectorbt_sweep:numba", SOME, 0.0, 1, 5),
    Match("raptorbt_sweep", GRID, 60.0, 2, 3),
    Match("raptorbt_sweep", SOME, 0.0, 2, 5),
)


def clocked(play: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    began, worked = time.perf_counter(), time.process_time()
    play()
    return time.perf_counter() - began, time.process_time() - worked


def seconds(play: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    return clocked(play)[0]


def tell(name: str, value: float, unit: str, goal: float, *, met: bool, **detail: Any) -> bool:
    """One line."""
    rounded = {key: round(found, 3) if isinstance(found, float) else found for key, found in detail.items()}
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "met": met, **rounded, "load": os.getloadavg()[0]}), flush=True)
    return met


class Bench:
    """The market, and both ways to sweep it."""

    def __init__(self) -> None:
        self.panel, self.exposure = workload(BARS, 1)
        self.crossing = Crossing(self.panel)

    def fast(self, threads: int = 1, grid: Mapping[str, list[int]] = GRID) -> Any:
        """By changes."""
        return skipping.sweep(self.panel, self.crossing, grid, COSTS, LIMITS, trading=ACCOUNT, threads=threads, at_once=Crossing.AT_ONCE)

    def slow(self, grid: Mapping[str, list[int]] = SOME) -> Any:
        """By the loop."""
        return kernel.sweep(self.panel, self.crossing.targets, grid, COSTS, LIMITS, trading=ACCOUNT)

    def against_loop(self) -> bool:
        """The same table, so many times faster a point; the loop plays a part of the points."""
        told, said = self.fast(grid=SOME), self.slow()
        apart, apart_sharpe = (
            max(float(np.nanmax(np.abs(told[name].to_numpy() / said[name].to_numpy() - 1))) for name in names) for names in (("equity", "fills"), ("sharpe",))
        )
        pairs = [(self.middle(1), clocked(self.slow)) for _ in range(9)]
        cells = POINTS * BARS / 1e9, len(said) * BARS / 1e9
        value, peer_value = (statistics.median(pair[side][0] for pair in pairs) / cells[side] for side in (0, 1))
        ratio, ratio_cpu = (statistics.median(loop[clock] / mine[clock] for mine, loop in pairs) * cells[0] / cells[1] for clock in (0, 1))
        detail = {
            "peer": "our loop",
            "peer_value": peer_value,
            "ratio": ratio,
            "ratio_cpu": ratio_cpu,
            "apart": f"{apart:.1e}",
            "apart_sharpe": f"{apart_sharpe:.1e}",
            "fills": int(said["fills"].sum()),
        }
        return tell("sweep.W2", value, "ns/bar/point", GOAL_LOOP, met=ratio >= GOAL_LOOP and apart < 1e-12 and apart_sharpe < ROUNDED, **detail)

    def against_threads(self) -> bool:
        """Two threads."""
        pairs = [(seconds(self.fast), seconds(lambda: self.fast(2))) for _ in range(9)]
        ratio = statistics.median(one / two for one, two in pairs)
        best = max(one / two for one, two in pairs)
        return tell("sweep.W2.threads", ratio, "times one thread", GOAL_THREADS, met=ratio >= GOAL_THREADS, best=best)

    def against(self, match: Match) -> bool:
        """One of the others."""
        points = np.array(list(itertools.product(*match.grid.values())))
        with tempfile.TemporaryDirectory() as folder, peers() as ask:
            path = Path(folder) / "w2.npz"
            prices = {name: getattr(self.panel, name) for name in ("open", "high", "low", "close", "volume")}
            np.savez(path, exposure=self.exposure, fast=points[:, 0], slow=points[:, 1], **prices)
            pairs = [(ask(match.peer, str(path)), self.middle(match.threads)) for _ in range(match.rounds + 1)][1:]
        theirs = [(answer["seconds"] / len(points), answer["cpu_seconds"] / len(points)) for answer, _ in pairs]
        ours = [(wall / POINTS, cpu / POINTS) for _, (wall, cpu) in pairs]
        ratio, ratio_cpu = (statistics.median(their[clock] / mine[clock] for their, mine in zip(theirs, ours, strict=True)) for clock in (0, 1))
        value, peer_value = (statistics.median(wall for wall, _ in side) / BARS * 1e9 for side in (ours, theirs))
        detail = {"peer": match.peer, "peer_value": peer_value, "ratio": ratio, "ratio_cpu": ratio_cpu, "peer_points": len(points)}
        told = {"threads": match.threads, "peer_peak_mib": pairs[-1][0]["peak_mib"], **detail}
        return tell("sweep.W2", value, "ns/bar/point", match.goal, met=ratio >= match.goal, **told)

    def middle(self, threads: int) -> tuple[float, float]:
        """Wall and processor seconds of a few runs of all points, their medians."""
        wall, worked = zip(*(clocked(lambda: self.fast(threads)) for _ in range(OURS)), strict=True)
        return statistics.median(wall), statistics.median(worked)


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    bench = Bench()
    if "alone" in sys.argv:
        took = seconds(bench.fast)
        return 0 if tell("sweep.W2.memory", peak_mib(), "MiB", GOAL_MIB, met=peak_mib() <= GOAL_MIB, points=POINTS, bars=BARS, seconds=took) else 1
    met = [bench.against_loop(), bench.against_threads()]
    met.append(subprocess.run([sys.executable, __file__, "alone"], check=False).returncode == 0)
    if PYTHON.exists():
        met += [bench.against(match) for match in MATCHES]
    else:
        sys.stderr.write("benchmarks/sweep.py: the peers are not installed: make bench-peers\n")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
