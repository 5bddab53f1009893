from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.backtest.folds import combinatorial_paths, combinatorial_purged, walk_forward
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


@pytest.mark.parametrize("wrong", [{"n_folds": 0}, {"min_train_share": 1.0}, {"min_train_share": -0.1}, {"embargo_bars": -1}])
def test_a_walk_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """An embargo below zero would train on rows of the test span, no fold at all would score as one that was never asked."""
    with pytest.raises(ContractBroken, match="expected folds"):
        next(walk_forward(100, **{"n_folds": 2, "min_train_share": 0.5, "embargo_bars": 0} | wrong))


@pytest.mark.parametrize(("n_test", "embargo"), [(0, 0), (4, 0), (5, 0), (2, -1)])
def test_a_choice_of_groups_that_leaves_nothing_to_learn_from_or_to_ask_is_refused(n_test: int, embargo: int) -> None:
    with pytest.raises(ContractBroken, match="fewer groups"):
        next(combinatorial_purged(100, n_groups=4, n_test_groups=n_test, embargo_bars=embargo))


def test_a_rolling_walk_trains_on_the_newest_rows_only() -> None:
    folds = list(walk_forward(100, n_folds=3, min_train_share=0.4, label_bars=2, embargo_bars=3, max_train_rows=20))

    assert [list(range(test[0] - 25, test[0] - 5)) for _, test in folds] == [train.tolist() for train, _ in folds]


@given(n_rows=st.integers(200, 800), label_bars=st.integers(0, 10), embargo=st.integers(0, 20))
def test_ends_that_a_count_would_give_give_the_same_folds(n_rows: int, label_bars: int, embargo: int) -> None:
    hours = np.datetime64("2024-01-01", "us") + np.arange(n_rows) * np.timedelta64(1, "h")
    known = {"label_ends": hours + label_bars * np.timedelta64(1, "h"), "times": hours, "embargo_bars": embargo}

    for by_count, by_time in (
        (
            walk_forward(n_rows, n_folds=3, min_train_share=0.4, label_bars=label_bars, embargo_bars=embargo),
            walk_forward(n_rows, n_folds=3, min_train_share=0.4, **known),
        ),
        (
            combinatorial_purged(n_rows, n_groups=4, n_test_groups=2, label_bars=label_bars, embargo_bars=embargo),
            combinatorial_purged(n_rows, n_groups=4, n_test_groups=2, **known),
        ),
    ):
        assert [(a.tolist(), b.tolist()) for a, b in by_count] == [(a.tolist(), b.tolist()) for a, b in by_time]


@given(data=st.data(), n_rows=st.integers(60, 200), embargo=st.integers(0, 4))
def test_no_label_of_any_length_touches_across_the_border(data: st.DataObject, n_rows: int, embargo: int) -> None:
    """Labels of uneven length, as barriers and gaps make them: training and test labels never share a row."""
    lengths = np.array(data.draw(st.lists(st.integers(0, 9), min_size=n_rows, max_size=n_rows)))
    ends = np.minimum(np.arange(n_rows) + lengths, n_rows - 1)

    walks = walk_forward(n_rows, n_folds=2, min_train_share=0.5, label_ends=ends, embargo_bars=embargo)
    for train, test in walks:
        assert ends[train].max() < test[0] - embargo
    for train, test in combinatorial_purged(n_rows, n_groups=4, n_test_groups=1, label_ends=ends, embargo_bars=embargo):
        before, after = train[train < test[0]], train[train > test[-1]]
        assert (ends[before] < test[0] - embargo).all()
        assert (after > ends[test].max() + embargo).all()


def test_a_long_label_far_from_the_border_is_purged_and_its_short_neighbours_are_not() -> None:
    ends = np.arange(40) + 1
    ends[5] = 25

    train, _ = next(walk_forward(40, n_folds=1, min_train_share=0.5, label_ends=ends, embargo_bars=0))

    assert [row for row in range(19) if row != 5] == train.tolist()


def test_label_ends_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ContractBroken, match="a label end not before it"):
        next(walk_forward(40, n_folds=1, min_train_share=0.5, label_ends=np.arange(40) - 1, embargo_bars=0))
    with pytest.raises(ContractBroken, match="give label_ends too"):
        next(walk_forward(40, n_folds=1, min_train_share=0.5, times=np.arange(40), embargo_bars=0))


def test_the_five_paths_of_the_book() -> None:
    """Lopez de Prado 2018, figure 12.2: six groups, two tested; the first path takes splits 1, 1, 2, 3, 4, 5."""
    paths = combinatorial_paths(60, n_groups=6, n_test_groups=2)

    assert 5 == len(paths)
    assert [0, 0, 1, 2, 3, 4] == [fold for fold, _ in paths[0]]


@given(n_rows=st.integers(30, 120), n_groups=st.integers(2, 7), data=st.data())
def test_every_path_covers_every_row_once_with_rows_its_folds_were_tested_on(n_rows: int, n_groups: int, data: st.DataObject) -> None:
    n_test = data.draw(st.integers(1, n_groups - 1))
    tests = [set(test.tolist()) for _, test in combinatorial_purged(n_rows, n_groups=n_groups, n_test_groups=n_test, embargo_bars=0)]

    paths = combinatorial_paths(n_rows, n_groups=n_groups, n_test_groups=n_test)

    assert comb(n_groups - 1, n_test - 1) == len(paths)
    used = [(fold, row) for path in paths for fold, rows in path for row in rows.tolist()]
    assert len(used) == len(set(used))
    for path in paths:
        assert list(range(n_rows)) == np.concatenate([rows for _, rows in path]).tolist()
        assert all(set(rows.tolist()) <= tests[fold] for fold, rows in path)
