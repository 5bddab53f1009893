"""Was it luck? Tests that know how many things were tried.

Sharpe ratios are per period, never annual; kurtosis is raw (3 for a normal); returns are fractions, [time] or [time, strategy]. Track
records are in periods, backtest lengths in years. Undefined is nan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

from desk.errors import ContractBroken

Floats = NDArray[np.float64]

# A weight too small to matter in a sum of as many terms as there are rows.
_NEGLIGIBLE = 1e-12

# Resamples whose weights are held at once: [chunk, time] floats.
_CHUNK = 64


def probabilistic_sharpe_ratio(sharpe: float, n: int, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, given `sharpe` over `n` periods. Bailey and Lopez de Prado 2012, eq. 11."""
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    if n < 2 or not variance > 0:
        return math.nan
    return float(ndtr((sharpe - benchmark) * math.sqrt((n - 1) / variance)))


def deflated_sharpe_ratio(sharpe: float, n: int, skewness: float, kurtosis: float, *, n_trials: int, trial_sharpe_variance: float) -> float:
    """Probability that the true Sharpe ratio exceeds 0 after `n_trials` trials whose Sharpe ratios had `trial_sharpe_variance` (per period).

    Bailey and Lopez de Prado 2014, eq. 2.
    """
    return probabilistic_sharpe_ratio(sharpe, n, skewness, kurtosis, expected_maximum_sharpe(n_trials, trial_sharpe_variance))


def expected_maximum_sharpe(n_trials: int, trial_sharpe_variance: float = 1.0) -> float:
    """Best Sharpe ratio to expect of `n_trials` independent trials without skill; 0 for a single one. Bailey and Lopez de Prado 2014, eq. 1."""
    if n_trials < 1 or not trial_sharpe_variance >= 0:
        return math.nan
    if n_trials == 1:
        return 0.0
    most, tail = ndtri(1 - 1 / n_trials), ndtri(1 - 1 / (n_trials * math.e))
    return float(math.sqrt(trial_sharpe_variance) * ((1 - np.euler_gamma) * most + np.euler_gamma * tail))


def minimum_track_record_length(sharpe: float, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Periods needed to say with `confidence` that the true Sharpe ratio exceeds `benchmark`; inf when `sharpe` does not.

    Bailey and Lopez de Prado 2012, eq. 13.
    """
    if math.isnan(sharpe):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return float(1 + _sharpe_variance(sharpe, skewness, kurtosis) * (ndtri(confidence) / (sharpe - benchmark)) ** 2)


def minimum_backtest_length(n_trials: int, target_sharpe: float) -> float:
    """Years of backtest below which `n_trials` without skill are expected to show an annual Sharpe ratio of `target_sharpe` (> 0).

    Bailey, Borwein, Lopez de Prado and Zhu 2014, theorem 1.
    """
    return (expected_maximum_sharpe(n_trials) / target_sharpe) ** 2 if target_sharpe > 0 else math.nan


def _sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Asymptotic variance of an estimated Sharpe ratio, times n - 1 (Mertens 2002)."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2


@dataclass(frozen=True, slots=True)
class Overfitting:
    """`pbo`: probability that the best in sample is below the median out of sample; `logits`: of its relative rank there, one per split."""

    pbo: float
    logits: Floats


def probability_of_backtest_overfitting(returns: Floats, n_splits: int = 16) -> Overfitting:
    """Combinatorially symmetric cross-validation of the choice by Sharpe ratio among `returns` [time, strategy].

    Time is cut into `n_splits` (even) spans; every half of them is in sample once. Leftover rows at the start are not used. Bailey, Borwein,
    Lopez de Prado and Zhu 2017.
    """
    rows, strategies = returns.shape
    if n_splits < 2 or n_splits % 2 or rows < 2 * n_splits or strategies < 2:
        raise ContractBroken(
            f"expected an even number of splits, two rows in each and two strategies, found {n_splits} splits of {rows} rows of {strategies} strategies"
        )
    spans = returns[rows % n_splits :].reshape(n_splits, -1, strategies)
    sums, squares, length = spans.sum(axis=1), (spans * spans).sum(axis=1), spans.shape[1] * n_splits // 2
    logits = []
    for chosen in combinations(range(n_splits), n_splits // 2):
        inside = np.zeros(n_splits, dtype=bool)
        inside[list(chosen)] = True
        best = int(np.argmax(_sharpes(sums[inside].sum(axis=0), squares[inside].sum(axis=0), length)))
        outside = _sharpes(sums[~inside].sum(axis=0), squares[~inside].sum(axis=0), length)
        # Ties share their ranks: two strategies that are the same neither beat nor lose to each other.
        rank = np.sum(outside < outside[best]) + (np.sum(outside == outside[best]) + 1) / 2
        share = rank / (strategies + 1)
        logits.append(math.log(share / (1 - share)))
    found = np.array(logits)
    return Overfitting(float(np.mean(found <= 0)), found)


def _sharpes(sums: Floats, squares: Floats, length: int) -> Floats:
    """Sharpe ratios from sums and sums of squares; a strategy that never moves has 0."""
    mean = sums / length
    variance = np.maximum(squares / length - mean * mean, 0.0)
    sharpes: Floats = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > 0)
    return sharpes


def reality_check(returns: Floats, *, mean_block_bars: float = 10.0, n_resamples: int = 1000, seed: int = 0) -> float:
    """p-value that the best mean among `returns` [time, strategy] in excess of a benchmark is luck. White 2000, stationary bootstrap."""
    n, mean = len(returns), returns.mean(axis=0)
    worst = np.concatenate([(means - mean).max(axis=1) for means in _resampled_means(returns, mean_block_bars, n_resamples, seed)])
    return _share_at_least(math.sqrt(n) * worst, math.sqrt(n) * float(mean.max()))


def superior_predictive_ability(returns: Floats, *, mean_block_bars: float = 10.0, n_resamples: int = 1000, seed: int = 0) -> float:
    """Consistent p-value that the best studentised mean among `returns` [time, strategy] in excess of a benchmark is luck. Hansen 2005.

    Strategies that never differ from the benchmark do not count; nan when none is left.
    """
    moving = returns[:, returns.std(axis=0) > 0]
    if not moving.shape[1]:
        return math.nan
    n, mean = len(moving), moving.mean(axis=0)
    scale = np.sqrt(_long_run_variance(moving, mean_block_bars))
    # Clearly bad strategies keep their bad mean, so that adding more of them does not hide a good one.
    poor = mean <= -scale * math.sqrt(2 * math.log(math.log(n)) / n)
    centre = np.where(poor, 0.0, mean)
    drawn = [(math.sqrt(n) * (means - centre) / scale).max(axis=1) for means in _resampled_means(moving, mean_block_bars, n_resamples, seed)]
    return _share_at_least(np.maximum(np.concatenate(drawn), 0.0), max(float((math.sqrt(n) * mean / scale).max()), 0.0))


def block_t_test(returns: Floats, block_bars: int) -> tuple[float, float]:
    """t statistic and one-sided p-value of mean(`returns` [time]) > 0, from the means of non-overlapping blocks of `block_bars`.

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


def _share_at_least(drawn: Floats, found: float) -> float:
    """p-value of a resampled statistic; the sample itself counts as one draw, so that it is never 0."""
    return float((1 + np.sum(drawn >= found)) / (1 + len(drawn)))


def _long_run_variance(returns: Floats, mean_block_bars: float) -> Floats:
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


def _resampled_means(returns: Floats, mean_block_bars: float, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Means [resample, strategy] of stationary bootstrap resamples of `returns` [time, strategy], in chunks. Politis and Romano 1994."""
    if mean_block_bars < 1:
        raise ContractBroken(f"expected a mean block of at least one bar, found {mean_block_bars}")
    n, random = len(returns), np.random.default_rng(seed)
    for begin in range(0, n_resamples, _CHUNK):
        weights = np.stack([_resample_weights(n, mean_block_bars, random) for _ in range(min(_CHUNK, n_resamples - begin))])
        yield weights @ returns


def _resample_weights(n: int, mean_block_bars: float, random: np.random.Generator) -> Floats:
    """How often each row is drawn, over n: blocks of geometric length that wrap around the end."""
    starts = random.random(n) < 1 / mean_block_bars
    starts[0] = True
    block = np.cumsum(starts) - 1
    began = np.flatnonzero(starts)
    rows = (random.integers(0, n, len(began))[block] + np.arange(n) - began[block]) % n
    return np.bincount(rows, minlength=n) / n
