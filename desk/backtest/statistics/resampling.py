"""Other histories that could as well have happened: the stationary bootstrap keeps neighbours together for blocks of random length.

Returns are fractions per bar, [time] or [time, strategy].
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

# A weight too small to matter in a sum of as many terms as there are rows.
_NEGLIGIBLE = 1e-12
# Resamples whose weights are held at once: [chunk, time] floats.
_CHUNK = 64
# Fewer rows than this have no autocorrelations to speak of.
_FEWEST_ROWS = 8


def stationary_bootstrap(n_rows: int, *, mean_block_bars: float, n_resamples: int, seed: int) -> Iterator[Rows]:
    """Row numbers [n_rows] of each resample: blocks of geometric length with the given mean (>= 1) that wrap around the end.

    Politis and Romano 1994. The same seed draws the same resamples.
    """
    if not mean_block_bars >= 1:
        raise ContractBroken(f"expected a mean block of at least one bar, found {mean_block_bars}; use 1 for rows that do not depend on each other")
    random = np.random.default_rng(seed)
    for _ in range(n_resamples):
        starts = random.random(n_rows) < 1 / mean_block_bars
        starts[0] = True
        block = np.cumsum(starts) - 1
        began = np.flatnonzero(starts)
        rows: Rows = (random.integers(0, n_rows, len(began))[block] + np.arange(n_rows) - began[block]) % n_rows
        yield rows


def optimal_block_bars(returns: Floats) -> float:
    """Mean block of the stationary bootstrap that estimates the variance of the mean of `returns` [time] best; 1 for too few or constant rows.

    Politis and White 2004, with the constant of Patton, Politis and White 2009: flat-top lag window over twice the lags before a run of max(5, log10 n)
    autocorrelations within 2 sqrt(log10 n / n) of 0 (counting the run's first, as the authors' program does), block at most min(3 sqrt n, n / 3).
    Of several strategies [time, strategy], the longest.
    """
    if returns.ndim == 2:
        return max((optimal_block_bars(column) for column in returns.T), default=1.0)
    n = len(returns)
    if n < _FEWEST_ROWS or not np.ptp(returns) > 0:
        return 1.0
    run = max(5, int(math.log10(n)))
    widest = math.ceil(math.sqrt(n)) + run
    covariance = _autocovariances(returns, min(widest, n - 1))
    bandwidth = min(2 * _first_negligible_lag(covariance / covariance[0], run, n), len(covariance) - 1)
    lags = np.arange(1, bandwidth + 1)
    weighted = np.minimum(1.0, 2 * (1 - lags / bandwidth)) * covariance[1 : bandwidth + 1]
    slope, long_run = 2 * float((lags * weighted).sum()), float(covariance[0] + 2 * weighted.sum())
    if not long_run > 0:
        return 1.0
    return float(min(max((slope / long_run) ** 2 * n, 1.0) ** (1 / 3), _longest(n)))


def sharpe_interval(
    returns: Floats, *, confidence: float = 0.9, mean_block_bars: float | None = None, n_resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Bounds of the Sharpe ratio per bar (ddof 1) of `returns` [time] that `confidence` of the stationary bootstrap's resamples lie between.

    Equal tails, percentiles (Efron and Tibshirani 1993, ch. 13). Without `mean_block_bars` blocks are of the optimal length. nan for returns that never move.
    """
    n = len(returns)
    if n < 2 or not np.ptp(returns) > 0:
        return math.nan, math.nan
    sums = np.concatenate(list(resampled_means(np.column_stack([returns, returns * returns]), mean_block_bars, n_resamples, seed)))
    variance = (sums[:, 1] - sums[:, 0] ** 2) * n / (n - 1)
    ratios = sums[variance > 0, 0] / np.sqrt(variance[variance > 0])
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resampled_means(returns: Floats, mean_block_bars: float | None, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Means [resample, strategy] of stationary bootstrap resamples of `returns` [time, strategy], in chunks; None: blocks of the optimal length."""
    n = len(returns)
    drawn = stationary_bootstrap(n, mean_block_bars=block_or_optimal(returns, mean_block_bars), n_resamples=n_resamples, seed=seed)
    for begin in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - begin)
        yield np.stack([np.bincount(next(drawn), minlength=n) / n for _ in range(size)]) @ returns


def block_or_optimal(returns: Floats, mean_block_bars: float | None) -> float:
    """The mean block asked for, or the optimal one."""
    return optimal_block_bars(returns) if mean_block_bars is None else mean_block_bars


def long_run_variance(returns: Floats, mean_block_bars: float) -> Floats:
    """Variance of sqrt(n) times the mean under the stationary bootstrap, per strategy (Politis and Romano 1994, lemma 1)."""
    n, centred = len(returns), returns - returns.mean(axis=0)
    keep = 1 - 1 / mean_block_bars
    variance: Floats = (centred * centred).mean(axis=0)
    for lag in range(1, n):
        weight = (1 - lag / n) * keep**lag + lag / n * keep ** (n - lag)
        if weight < _NEGLIGIBLE and lag < n / 2:
            continue
        variance += 2 * weight * (centred[:-lag] * centred[lag:]).sum(axis=0) / n
    return variance


def _autocovariances(returns: Floats, most: int) -> Floats:
    """Of lags 0 to `most`, sums over n as the paper has them."""
    centred = returns - returns.mean()
    return np.array([float(centred[lag:] @ centred[: len(centred) - lag]) for lag in range(most + 1)]) / len(returns)


def _first_negligible_lag(correlation: Floats, run: int, n: int) -> int:
    """The lag from which `run` autocorrelations in a row are small; the last one when there is no such run."""
    small = np.abs(correlation[1:]) < 2 * math.sqrt(math.log10(n) / n)
    runs = np.convolve(small, np.ones(run, dtype=int), "valid") == run
    return int(np.argmax(runs)) + 1 if runs.any() else len(correlation) - 1


def _longest(n: int) -> float:
    return float(math.ceil(min(3 * math.sqrt(n), n / 3)))
