"""Many histories out of one: combinatorial cross-validation tests every span several times, and the pieces make whole out-of-sample paths.

One walk-forward path may be lucky. Source: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 12.
"""

from __future__ import annotations

import numpy as np

from configs.learning import LearningSettings
from desk.backtest.folds import combinatorial_purged
from models.forecasters import LinearForecaster
from models.scores import information_coefficient
from models.windows import Table

# Six spans, two tested at a time: 15 fits, and every span is tested 5 times.
GROUPS, TESTED = 6, 2


def path_coefficients(table: Table, learning: LearningSettings) -> tuple[float, ...]:
    """Out-of-sample information coefficient of the linear model along each path, over the rows before the holdout.

    A path joins, for every span, one forecast by a model that never saw it; no forecast is used twice.
    """
    folds = learning.folds
    before_holdout = len(table.times) - round(len(table.times) * folds.holdout_share)
    splits = combinatorial_purged(before_holdout, n_groups=GROUPS, n_test_groups=TESTED, label_bars=learning.horizon_bars, embargo_bars=folds.embargo_bars)
    n_paths = GROUPS - 1
    paths = np.full((n_paths, *table.labels.shape), np.nan, dtype=np.float32)
    tested = np.zeros(before_holdout, dtype=np.int64)
    for train, test in splits:
        mean = LinearForecaster.fit(table, train).predict(table)[0]
        paths[tested[test], test] = mean[test]
        tested[test] += 1
    rows = np.arange(before_holdout)
    return tuple(information_coefficient(path, table.labels, rows) for path in paths)
