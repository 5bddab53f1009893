"""Many histories out of one: combinatorial cross-validation tests every span several times, and the pieces make whole out-of-sample paths.

One walk-forward path may be lucky. Source: Lopez de Prado, Advances in Financial Machine Learning (2018), chapters 4 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.learning import LearningSettings
from desk.backtest.folds import combinatorial_paths, combinatorial_purged
from desk.backtest.statistics import average_uniqueness, sequential_bootstrap
from models.forecasters import LinearForecaster
from models.scores import information_coefficient
from models.windows import Table

# Six spans, two tested at a time: 15 fits, and every span is tested 5 times.
GROUPS, TESTED = 6, 2
# Resamples of the labels, and the share of them that the interval leaves out on each side.
RESAMPLES, TAIL = 100, 0.05


@dataclass(frozen=True, slots=True)
class Paths:
    """Information coefficient of each path, and the interval of their mean that 90 % of the resamples of the labels lie in."""

    coefficients: tuple[float, ...]
    interval: tuple[float, float]


def path_coefficients(table: Table, learning: LearningSettings) -> Paths:
    """Out-of-sample information coefficient of the linear model along each path, over the rows before the holdout.

    A path joins, for every span, one forecast by a model that never saw it; no forecast is used twice. Labels that share bars are purged by where they
    really end, and resampled by their uniqueness.
    """
    folds = learning.folds
    before_holdout = len(table.times) - round(len(table.times) * folds.holdout_share)
    ends = label_ends(table)[:before_holdout]
    groups = {"n_groups": GROUPS, "n_test_groups": TESTED}
    splits = combinatorial_purged(before_holdout, **groups, label_ends=ends, embargo_bars=folds.embargo_bars)
    means = [LinearForecaster.fit(table, train).predict(table)[0] for train, _ in splits]
    joined = []
    for pieces in combinatorial_paths(before_holdout, **groups):
        path = np.full(table.labels.shape, np.nan, dtype=np.float32)
        for fold, rows in pieces:
            path[rows] = means[fold][rows]
        joined.append(path)
    rows = np.arange(before_holdout)
    return Paths(tuple(information_coefficient(path, table.labels, rows) for path in joined), _interval(joined, table, ends))


def label_ends(table: Table) -> NDArray[np.int64]:
    """The row at which the last of the labels that begin in each row is known, [row]; the row itself where none begins. A gap moves it further out."""
    ends = np.arange(len(table.times))
    for asset in range(len(table.symbols)):
        own = np.flatnonzero(np.isfinite(table.closes[:, asset]))
        starts = own[: -table.horizon_bars]
        ends[starts] = np.maximum(ends[starts], own[table.horizon_bars :])
    return ends


def _interval(paths: list[NDArray[np.float32]], table: Table, ends: NDArray[np.int64]) -> tuple[float, float]:
    """Of the mean coefficient over paths, when as many labels are drawn as are independent, each the more likely the less it says again."""
    rows = np.arange(len(ends))
    n_draws = round(float(average_uniqueness(rows, ends).sum()))
    means = []
    for seed in range(RESAMPLES):
        drawn = sequential_bootstrap(rows, ends, n_draws, seed=seed)
        means.append(np.mean([information_coefficient(path, table.labels, drawn) for path in paths]))
    low, high = np.nanquantile(means, [TAIL, 1 - TAIL])
    return float(low), float(high)
