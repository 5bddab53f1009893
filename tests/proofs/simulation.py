"""Claim: the made-up markets have the moments that arithmetic gives them, a law told wrong is noticed, and no exposures earn anything on noise.

A run draws one law of each kind with parameters of its own, and compares the averages over independent paths with the closed forms.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from _proof import Size, Verdict, prove
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.worlds import Bounce, Clusters, Diffusion, Jumps, Moments, Regimes, World, noise, panels

Floats = NDArray[np.float64]
N_BARS, N_PATHS, N_MARKETS = 3000, 128, 96
# Standard errors: among a few thousand comparisons chance alone stays well below.
MOST = 6.0
FREE = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0, participation_cap=1.0)
OPEN = RiskSettings(max_position_weight=100.0, max_gross_weight=100.0, max_drawdown=1.0, max_daily_loss=1.0)


def laws(chance: np.random.Generator) -> Mapping[str, World]:
    """One of each kind. Moments up to the eighth exist and are mild, so that averages of fourth powers settle."""
    sd = 10 ** chance.uniform(-4, -1.3)
    drift = sd * chance.uniform(-0.2, 0.2)
    stays = (chance.uniform(0.8, 0.97), chance.uniform(0.7, 0.95))
    return {
        "diffusion": Diffusion(drift, sd),
        "jumps": Jumps(drift, sd, chance.uniform(0.05, 0.3), sd * chance.uniform(-2, 2), sd * chance.uniform(1, 3)),
        "regimes": Regimes((drift, sd * chance.uniform(-1, 1)), (sd, sd * chance.uniform(1, 3)), stays),
        "clusters": Clusters(drift, sd, chance.uniform(0.02, 0.08), chance.uniform(0.5, 0.85), chance.uniform(16, 40)),
        "bounce": Bounce(drift, sd, sd * chance.uniform(0.1, 2)),
    }


def apart(drawn: Floats, told: Moments) -> dict[str, float]:
    """How many standard errors the averages over paths lie from what is told; raw moments about the told mean, so that none is biased."""
    sd = math.sqrt(told.variance)
    z = (drawn - told.mean) / sd
    squares = z * z - 1
    of_squares = told.kurtosis - 1
    averages = {
        "mean": (z.mean(axis=0), 0.0),
        "variance": ((z**2).mean(axis=0), 1.0),
        "skewness": ((z**3).mean(axis=0), told.skewness),
        "kurtosis": ((z**4).mean(axis=0), told.kurtosis),
        "neighbours": ((z[1:] * z[:-1]).mean(axis=0), told.neighbours),
        "squares": ((squares[1:] * squares[:-1]).mean(axis=0) / of_squares, told.squares),
    }
    return {name: float((found.mean() - expected) / (found.std(ddof=1) / math.sqrt(len(found)))) for name, (found, expected) in averages.items()}


def earned(world: World, seed: int) -> float:
    """Standard errors that exposures drawn by chance, traded for nothing, earn on average over markets where there is nothing to know."""
    chance = np.random.default_rng(seed)
    targets = np.repeat(chance.uniform(-1, 1, (40, 2)), 10, axis=0)
    markets = panels(world, len(targets), symbols=("A/USDT", "B/USDT"), n_panels=N_MARKETS, seed=seed)
    paid = np.array([simulate(bars, targets, FREE, OPEN, trading=TradingSettings(rebalance_band=0.0)).measures["total_return"] for bars in markets])
    return float(paid.mean() / (paid.std(ddof=1) / math.sqrt(len(paid))))


def simulation(seed: int, runs: int) -> Verdict:
    """Draw laws, compare; tell them five percent too volatile, compare; trade noise."""
    began, worst, missed, free = time.monotonic(), 0.0, [], 0.0
    for number in range(runs):
        chance = np.random.default_rng([seed, number])
        for name, world in laws(chance).items():
            told, drawn = world.moments, world.log_returns(N_BARS, N_PATHS, chance)
            found = apart(drawn, told)
            worst = max(worst, *map(abs, found.values()))
            wrong = apart(drawn, replace(told, variance=1.05 * told.variance))
            missed += [f"run {number}: {name}"] if max(map(abs, wrong.values())) < MOST else []
        free = max(free, *(abs(earned(world, int(chance.integers(2**31)))) for world in noise(10 ** chance.uniform(-3, -1.7)).values()))
    detail = {"told_wrong_and_missed": missed, "earned_on_noise": round(free, 2), "bars": N_BARS * N_PATHS, "seconds": round(time.monotonic() - began, 1)}
    return Verdict(runs, round(worst, 2), "standard errors, the worst moment", f"<= {MOST}, none missed", worst <= MOST and free <= MOST and not missed, detail)


if __name__ == "__main__":
    sys.exit(prove("simulation", Size(20, 1000), simulation))
