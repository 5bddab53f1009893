"""Which rows may be learned from when which rows are asked about (Lopez de Prado 2018, chapters 7 and 12).

The label of row t looks at rows t to t + label_bars. A training label may not touch the test span, nor come within `embargo_bars` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken

Rows = NDArray[np.int64]


def walk_forward(n_rows: int, *, n_folds: int, min_train_share: float, label_bars: int, embargo_bars: int) -> Iterator[tuple[Rows, Rows]]:
    """Folds of (train, test) row numbers, oldest first: training spans grow from the first row, test spans split the rest evenly.

    The first test span begins after `min_train_share` of the rows; training ends `label_bars + embargo_bars` before each.
    """
    first = round(n_rows * min_train_share)
    edges = np.linspace(first, n_rows, n_folds + 1).round().astype(np.int64)
    for begin, end in pairwise(edges.tolist()):
        train = np.arange(begin - embargo_bars - label_bars)
        _insist(train, end - begin, n_rows)
        yield train, np.arange(begin, end)


def combinatorial_purged(n_rows: int, *, n_groups: int, n_test_groups: int, label_bars: int, embargo_bars: int) -> Iterator[tuple[Rows, Rows]]:
    """Every choice of `n_test_groups` of `n_groups` contiguous spans as (train, test) row numbers, in the order of the combinations.

    Training rows are purged on both sides of each test span: those whose label reaches it, and those that a label inside it reaches.
    """
    edges = np.linspace(0, n_rows, n_groups + 1).round().astype(np.int64)
    rows = np.arange(n_rows)
    reach = label_bars + embargo_bars
    for chosen in combinations(range(n_groups), n_test_groups):
        tested = np.zeros(n_rows, dtype=bool)
        near = np.zeros(n_rows, dtype=bool)
        for group in chosen:
            begin, end = edges[group], edges[group + 1]
            tested[begin:end] = True
            near |= (rows >= begin - reach) & (rows < end + reach)
        train = rows[~near]
        _insist(train, int(tested.sum()), n_rows)
        yield train, rows[tested]


def _insist(train: Rows, n_test: int, n_rows: int) -> None:
    if not len(train) or n_test < 1:
        raise ContractBroken(
            f"expected rows to train and to test on in every fold, found {len(train)} and {n_test} of {n_rows}: "
            "take more rows, fewer folds, or shorter labels and embargo"
        )
