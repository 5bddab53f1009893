"""Does the choice of the best strategy survive out of sample? Combinatorially symmetric cross-validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken

Floats = NDArray[np.float64]


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
