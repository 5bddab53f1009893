"""What a Sharpe ratio proves, given how long the record is, how it is shaped, and how many were tried.

Sharpe ratios per period, raw kurtosis (3 for a normal), lengths in periods unless a name says years.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from desk.errors import ContractBroken

Floats = NDArray[np.float64]

# Share of the largest eigenvalue below which another is rounding.
_NOTHING = 1e-12


def probabilistic_sharpe_ratio(sharpe: float, n: int, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, given `sharpe` over `n` periods. Bailey and Lopez de Prado 2012, eq. 11.

    `sharpe` with the standard deviation of ddof 1; the n - 1 of the paper is under the root.
    """
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    if n < 2 or not variance > 0:
        return math.nan
    return float(ndtr((sharpe - benchmark) * math.sqrt((n - 1) / variance)))


def deflated_sharpe_ratio(sharpe: float, n: int, skewness: float, kurtosis: float, *, n_trials: float, trial_sharpe_variance: float) -> float:
    """Probability that the true Sharpe ratio exceeds 0 after `n_trials` trials whose Sharpe ratios had `trial_sharpe_variance` (per period).

    Trials that resemble each other count for less: pass `effective_number_of_trials`. Bailey and Lopez de Prado 2014, eq. 2.
    """
    return probabilistic_sharpe_ratio(sharpe, n, skewness, kurtosis, expected_maximum_sharpe(n_trials, trial_sharpe_variance))


def expected_maximum_sharpe(n_trials: float, trial_sharpe_variance: float = 1.0) -> float:
    """Best Sharpe ratio to expect of `n_trials` independent trials without skill; 0 for a single one. Bailey and Lopez de Prado 2014, eq. 1."""
    if not n_trials >= 1 or not trial_sharpe_variance >= 0:
        return math.nan
    if n_trials == 1:
        return 0.0
    most, tail = ndtri(1 - 1 / n_trials), ndtri(1 - 1 / (n_trials * math.e))
    # Between one trial and two the approximation dips below 0; the best of several is no worse than one.
    return max(float(math.sqrt(trial_sharpe_variance) * ((1 - np.euler_gamma) * most + np.euler_gamma * tail)), 0.0)


def effective_number_of_trials(returns: Floats) -> float:
    """How many independent trials the columns of `returns` [time, trial] amount to: 1 when all are copies of one, all of them when uncorrelated.

    (sum of roots of the eigenvalues)^2 / sum of the eigenvalues of their correlation matrix, Galwey 2009. Clusters of copies count once each, as in the
    clustering of Lopez de Prado and Lewis 2019. The plain participation ratio (Bretherton et al. 1999) squares the eigenvalues instead of taking
    roots: one factor common to all trials then hides how far they still differ, and the best of them is deflated too little. Trials that never
    move are not counted; nan when none is left, or for fewer than two periods.
    """
    if returns.ndim != 2:
        raise ContractBroken(f"expected returns [time, trial], found {returns.ndim} dimensions; stack the trials as columns")
    if len(returns) < 2 or not np.isfinite(returns).all():
        return math.nan
    moving = returns[:, np.ptp(returns, axis=0) > 0]
    if not moving.shape[1]:
        return math.nan
    eigenvalues = np.maximum(np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(moving, rowvar=False))), 0.0)
    # Rounding leaves eigenvalues of 1e-16 where there are none; their roots would count.
    eigenvalues = eigenvalues[eigenvalues > _NOTHING * eigenvalues.max()]
    return float(np.sqrt(eigenvalues).sum() ** 2 / eigenvalues.sum())


def minimum_track_record_length(sharpe: float, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Periods needed to say with `confidence` that the true Sharpe ratio exceeds `benchmark`; inf when `sharpe` does not.

    Bailey and Lopez de Prado 2012, eq. 13.
    """
    if math.isnan(sharpe):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return float(1 + _sharpe_variance(sharpe, skewness, kurtosis) * (ndtri(confidence) / (sharpe - benchmark)) ** 2)


def minimum_backtest_length(n_trials: float, target_sharpe: float) -> float:
    """Years of backtest below which `n_trials` without skill are expected to show an annual Sharpe ratio of `target_sharpe` (> 0).

    Bailey, Borwein, Lopez de Prado and Zhu 2014, theorem 1.
    """
    return (expected_maximum_sharpe(n_trials) / target_sharpe) ** 2 if target_sharpe > 0 else math.nan


def _sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Asymptotic variance of an estimated Sharpe ratio, times n - 1 (Mertens 2002)."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
