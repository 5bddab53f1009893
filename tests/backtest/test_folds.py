from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.backtest.folds import combinatorial_purged, walk_forward
from desk.errors import ContractBroken

spacing = {"label_bars": st.integers(0, 10), "embargo_bars": st.integers(0, 20)}


def test_a_small_walk_by_hand() -> None:
    """Ten rows, two folds after the first 4; labels of 1 and an embargo of 1 take two rows before each test span."""
    folds = list(walk_forward(10, n_folds=2, min_train_share=0.4, label_bars=1, embargo_bars=1))

    assert [([0, 1], [4, 5, 6]), ([0, 1, 2, 3, 4], [7, 8, 9])] == [(train.tolist(), test.tolist()) for train, test in folds]


@given(n_rows=st.integers(200, 2000), n_folds=st.integers(1, 6), share=st.floats(0.3, 0.8), **spacing)
def test_no_training_label_touches_its_test_span_or_the_embargo(n_rows: int, n_folds: int, share: float, label_bars: int, embargo_bars: int) -> None:
    folds = list(walk_forward(n_rows, n_folds=n_folds, min_train_share=share, label_bars=label_bars, embargo_bars=embargo_bars))

    assert n_folds == len(folds)
    for train, test in folds:
        assert train[-1] + label_bars + embargo_bars < test[0]
        assert np.arange(len(train)).tolist() == train.tolist()


@given(n_rows=st.integers(200, 2000), n_folds=st.integers(1, 6), share=st.floats(0.3, 0.8))
def test_test_spans_split_the_rest_evenly_without_hole_or_overlap(n_rows: int, n_folds: int, share: float) -> None:
    tests = [test for _, test in walk_forward(n_rows, n_folds=n_folds, min_train_share=share, label_bars=1, embargo_bars=0)]

    assert np.arange(round(n_rows * share), n_rows).tolist() == np.concatenate(tests).tolist()
    assert max(map(len, tests)) - min(map(len, tests)) <= 1


@given(n_rows=st.integers(300, 900), n_groups=st.integers(3, 6), n_test=st.integers(1, 2), **spacing)
def test_every_choice_of_groups_is_tested_once_and_purged_on_both_sides(n_rows: int, n_groups: int, n_test: int, label_bars: int, embargo_bars: int) -> None:
    folds = list(combinatorial_purged(n_rows, n_groups=n_groups, n_test_groups=n_test, label_bars=label_bars, embargo_bars=embargo_bars))

    assert comb(n_groups, n_test) == len(folds)
    tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=n_rows)
    assert {comb(n_groups - 1, n_test - 1)} == set(tested.tolist())
    for train, test in folds:
        nearest = np.abs(train[:, None] - test[None, :]).min()
        assert nearest > label_bars + embargo_bars


def test_purging_takes_no_more_than_it_must() -> None:
    """The middle third of 30 rows with labels of 2 and an embargo of 1: rows 7 to 9 and 20 to 22 go."""
    folds = list(combinatorial_purged(30, n_groups=3, n_test_groups=1, label_bars=2, embargo_bars=1))

    assert [*range(7), *range(23, 30)] == folds[1][0].tolist()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ContractBroken, match="take more rows"):
        list(walk_forward(20, n_folds=2, min_train_share=0.4, label_bars=4, embargo_bars=24))
    with pytest.raises(ContractBroken, match="take more rows"):
        list(combinatorial_purged(20, n_groups=4, n_test_groups=2, label_bars=8, embargo_bars=24))
