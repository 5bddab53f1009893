"""Which rows may be learned from when which rows are asked about (Lopez de Prado 2018, chapters 7 and 12).

The label of row t looks from row t to its end: `label_bars` rows on, or the end that the caller knows. A training label may not touch the test
span, nor come within `embargo_bars` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken

Rows = NDArray[np.int64]


def walk_forward(
    n_rows: int,
    *,
    n_folds: int,
    min_train_share: float,
    label_bars: int = 0,
    embargo_bars: int,
    max_train_rows: int | None = None,
    label_ends: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
) -> Iterator[tuple[Rows, Rows]]:
    """Folds of (train, test) row numbers, oldest first: training spans grow from the first row, test spans split the rest evenly.

    The first test span begins after `min_train_share` of the rows. Rows train whose label ends before the `embargo_bars` rows in front of the test
    span; at most the newest `max_train_rows` of them (rolling) when that is given. Label ends: row + `label_bars`, or `label_ends` [row], the instant at
    which each label is known, against the `times` [row] of the rows (ascending; without them ends are row numbers). A row without a label ends at its own time.
    """
    if n_folds < 1 or not 0 <= min_train_share < 1 or embargo_bars < 0:
        raise ContractBroken(f"expected folds, a share in [0, 1) and an embargo of at least 0, found {n_folds}, {min_train_share} and {embargo_bars}")
    labels = _Labels.of(n_rows, label_bars, label_ends, times)
    first = round(n_rows * min_train_share)
    edges = np.linspace(first, n_rows, n_folds + 1).round().astype(np.int64)
    for begin, end in pairwise(edges.tolist()):
        train = np.flatnonzero(labels.ended_before(begin - embargo_bars))
        train = train if max_train_rows is None else train[max(len(train) - max_train_rows, 0) :]
        _insist(train, end - begin, n_rows)
        yield train, np.arange(begin, end)


def combinatorial_purged(
    n_rows: int,
    *,
    n_groups: int,
    n_test_groups: int,
    label_bars: int = 0,
    embargo_bars: int,
    label_ends: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
) -> Iterator[tuple[Rows, Rows]]:
    """Every choice of `n_test_groups` of `n_groups` contiguous spans as (train, test) row numbers, in the order of the combinations.

    Training rows are purged on both sides of each test span: those whose label reaches it, and those that a label inside it reaches. Label ends
    as in `walk_forward`.
    """
    if not 0 < n_test_groups < n_groups or embargo_bars < 0:
        raise ContractBroken(
            f"expected fewer groups to test on than there are, and an embargo of at least 0, found {n_test_groups} of {n_groups} and {embargo_bars}"
        )
    labels = _Labels.of(n_rows, label_bars, label_ends, times)
    spans = list(pairwise(_edges(n_rows, n_groups)))
    rows = np.arange(n_rows)
    for chosen in combinations(range(n_groups), n_test_groups):
        near = np.zeros(n_rows, dtype=bool)
        tested = np.zeros(n_rows, dtype=bool)
        for begin, end in (spans[group] for group in chosen):
            tested[begin:end] = True
            near |= ~labels.ended_before(begin - embargo_bars) & (rows < labels.first_after(begin, end) + embargo_bars)
        train = rows[~near]
        _insist(train, int(tested.sum()), n_rows)
        yield train, rows[tested]


def combinatorial_paths(n_rows: int, *, n_groups: int, n_test_groups: int) -> list[list[tuple[int, Rows]]]:
    """Whole histories out of the folds of `combinatorial_purged`: each path covers every row once, as (number of the fold, rows it is tested on).

    Every span is tested in several folds; the k-th path takes of each span its k-th test. C(n_groups - 1, n_test_groups - 1) paths. Section 12.4.1.
    """
    spans = [np.arange(begin, end) for begin, end in pairwise(_edges(n_rows, n_groups))]
    tests = [[fold for fold, chosen in enumerate(combinations(range(n_groups), n_test_groups)) if group in chosen] for group in range(n_groups)]
    return [list(zip(folds, spans, strict=True)) for folds in zip(*tests, strict=True)]


@dataclass(frozen=True, slots=True)
class _Labels:
    """When rows are and when their labels end, on one scale."""

    times: NDArray[Any]
    ends: NDArray[Any]

    @classmethod
    def of(cls, n_rows: int, label_bars: int, label_ends: NDArray[Any] | None, times: NDArray[Any] | None) -> _Labels:
        at = np.arange(n_rows) if times is None else times
        ends = np.arange(n_rows) + label_bars if label_ends is None else label_ends
        if label_ends is None and times is not None:
            raise ContractBroken("times of rows are compared with ends of labels: give label_ends too, or neither")
        if not len(at) == len(ends) == n_rows or not (at[1:] > at[:-1]).all() or not (ends >= at).all():
            raise ContractBroken(
                f"expected for each of {n_rows} rows its time, ascending, and a label end not before it, found {len(at)} times and {len(ends)} ends"
            )
        return cls(at, ends)

    def ended_before(self, row: int) -> NDArray[np.bool_]:
        """Of every row, whether its label ends before the time of `row`; none does before the first row."""
        known: NDArray[np.bool_] = self.ends < self.times[row] if row > 0 else np.zeros(len(self.ends), dtype=bool)
        return known

    def first_after(self, begin: int, end: int) -> int:
        """The first row that no label of the rows from `begin` to before `end` reaches."""
        return int(np.searchsorted(self.times, self.ends[begin:end].max(), side="right")) if end > begin else end


def _edges(n_rows: int, n_groups: int) -> list[int]:
    edges: list[int] = np.linspace(0, n_rows, n_groups + 1).round().astype(np.int64).tolist()
    return edges


def _insist(train: Rows, n_test: int, n_rows: int) -> None:
    if not len(train) or n_test < 1:
        raise ContractBroken(
            f"expected rows to train and to test on in every fold, found {len(train)} and {n_test} of {n_rows}: "
            "take more rows, fewer folds, or shorter labels and embargo"
        )
