"""Labels that share bars say the same thing twice: how much of each is its own, and resamples that prefer what is not yet said.

A label spans the rows from `starts` to `ends`, both included. Lopez de Prado 2018, chapter 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def average_uniqueness(starts: Rows, ends: Rows) -> Floats:
    """Share of each label [label] that is its own: the mean over its rows of one over the number of labels alive there, in (0, 1].

    Its sum is how many independent labels there are. Section 4.4.
    """
    _insist(starts, ends)
    first = int(starts.min(initial=0))
    begin, end = starts - first, ends - first + 1
    changes = np.bincount(begin, minlength=int(end.max(initial=0)) + 1) - np.bincount(end, minlength=int(end.max(initial=0)) + 1)
    alive = np.cumsum(changes)[:-1]
    shares = np.concatenate(([0.0], np.cumsum(np.divide(1.0, alive, out=np.zeros(len(alive)), where=alive > 0))))
    unique: Floats = (shares[end] - shares[begin]) / (end - begin)
    return unique


def sequential_bootstrap(starts: Rows, ends: Rows, n_draws: int, *, seed: int) -> Rows:
    """Numbers [n_draws] of labels drawn with replacement, each with a chance proportional to its uniqueness among those drawn before it.

    Section 4.5.2, by rejection: uniqueness lies in (0, 1], so a label proposed evenly and accepted with that chance has exactly the wanted
    one, and a draw costs a label's length instead of all labels.
    """
    _insist(starts, ends)
    random, first = np.random.default_rng(seed), int(starts.min())
    begin, end = (starts - first).tolist(), (ends - first + 1).tolist()
    alive = np.zeros(max(end), dtype=np.int64)
    drawn = np.empty(n_draws, dtype=np.int64)
    for draw in range(n_draws):
        while True:
            label = int(random.integers(len(begin)))
            span = alive[begin[label] : end[label]]
            if random.random() < float((1.0 / (1 + span)).mean()):
                break
        span += 1
        drawn[draw] = label
    return drawn


def _insist(starts: Rows, ends: Rows) -> None:
    if len(starts) != len(ends) or not len(starts) or (ends < starts).any():
        raise ContractBroken(f"expected as many label ends as starts, none before its start and at least one, found {len(starts)} starts and {len(ends)} ends")
