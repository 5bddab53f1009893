"""Is the best of several strategies better than a benchmark, or only the luckiest?

Returns are in excess of the benchmark, fractions per bar, [time, strategy] or [time]. p-values are one-sided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from scipy.stats import false_discovery_control

from desk.backtest.statistics.resampling import block_or_optimal, long_run_variance, resampled_means

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Hansen's three p-values: `lower` counts no poor strategy, `upper` counts them as if they were as good as the benchmark, `consistent` is between."""

    lower: float
    consistent: float
    upper: float


def reality_check(returns: Floats, *, mean_block_bars: float | None = None, n_resamples: int = 1000, seed: int = 0) -> float:
    """p-value that the best mean among `returns` [time, strategy] in excess of a benchmark is luck. White 2000, stationary bootstrap.

    Without `mean_block_bars` blocks are of the optimal length (Politis and White 2004).
    """
    n, mean = len(returns), returns.mean(axis=0)
    worst = np.concatenate([(means - mean).max(axis=1) for means in resampled_means(returns, mean_block_bars, n_resamples, seed)])
    return _share_at_least(math.sqrt(n) * worst, math.sqrt(n) * float(mean.max()))


def superior_predictive_ability(returns: Floats, *, mean_block_bars: float | None = None, n_resamples: int = 1000, seed: int = 0) -> float:
    """Consistent p-value that the best studentised mean among `returns` [time, strategy] in excess of a benchmark is luck. Hansen 2005.

    Strategies that never differ from the benchmark do not count; nan when none is left.
    """
    return superior_predictive_abilities(returns, mean_block_bars=mean_block_bars, n_resamples=n_resamples, seed=seed).consistent


def superior_predictive_abilities(returns: Floats, *, mean_block_bars: float | None = None, n_resamples: int = 1000, seed: int = 0) -> SuperiorAbility:
    """Lower, consistent and upper p-value of Hansen's test (2005), all from the same resamples; as `superior_predictive_ability` otherwise."""
    moving = returns[:, np.ptp(returns, axis=0) > 0]
    if not moving.shape[1]:
        return SuperiorAbility(math.nan, math.nan, math.nan)
    n, mean, block = len(moving), moving.mean(axis=0), block_or_optimal(moving, mean_block_bars)
    scale = np.sqrt(long_run_variance(moving, block))
    # Clearly bad strategies keep their bad mean, so that adding more of them does not hide a good one.
    poor = mean <= -scale * math.sqrt(2 * math.log(math.log(n)) / n)
    centres = np.maximum(mean, 0.0), np.where(poor, 0.0, mean), mean
    drawn: list[list[Floats]] = [[], [], []]
    for means in resampled_means(moving, block, n_resamples, seed):
        for of_centre, centre in zip(drawn, centres, strict=True):
            of_centre.append(np.maximum((math.sqrt(n) * (means - centre) / scale).max(axis=1), 0.0))
    found = max(float((math.sqrt(n) * mean / scale).max()), 0.0)
    return SuperiorAbility(*(_share_at_least(np.concatenate(of_centre), found) for of_centre in drawn))


def block_t_test(returns: Floats, block_bars: int) -> tuple[float, float]:
    """t statistic and one-sided p-value of mean(`returns` [time]) > 0, from the means of non-overlapping blocks of `block_bars` (ddof 1).

    Blocks take the dependence between neighbours away; Student's t with blocks - 1 degrees of freedom. Leftover rows at the start are not
    used. nan for fewer than two blocks or when they never differ.
    """
    blocks = len(returns) // block_bars
    if blocks < 2:
        return math.nan, math.nan
    means = returns[len(returns) - blocks * block_bars :].reshape(blocks, block_bars).mean(axis=1)
    sd = float(means.std(ddof=1))
    if not sd > 0:
        return math.nan, math.nan
    t = float(means.mean()) / sd * math.sqrt(blocks)
    return t, float(stdtr(blocks - 1, -t))


def benjamini_hochberg(p_values: Floats) -> Floats:
    """p-values [strategy] adjusted for how many were looked at: those at most q are discoveries of which a share q is expected to be false.

    Benjamini and Hochberg 1995, step-up, for independent or positively dependent tests. A nan was not a test: it stays nan and does not count.
    """
    adjusted, known = np.full(len(p_values), np.nan), np.isfinite(p_values)
    if known.any():
        adjusted[known] = false_discovery_control(p_values[known], method="bh")
    return adjusted


def _share_at_least(drawn: Floats, found: float) -> float:
    """p-value of a resampled statistic; the sample itself counts as one draw, so that it is never 0."""
    return float((1 + np.sum(drawn >= found)) / (1 + len(drawn)))
