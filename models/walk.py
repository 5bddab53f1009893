"""Walk forward: which rows each fold learns from and answers for, and what is learned in one fold.

The newest `holdout_share` of the rows is one more span behind the folds: its model is the one that may trade, its rows are tested once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.learning import LearningSettings
from desk.backtest.folds import walk_forward
from models.fitted import predict, save
from models.forecasters import LinearForecaster
from models.scores import information_coefficient
from models.training import fit
from models.tuning import Tuned, tune
from models.windows import Table

# Optimiser steps after which every weight depends on the data.
GLIMPSE_STEPS = 3
GLIMPSE_ROWS = 400


@dataclass(frozen=True, slots=True)
class Span:
    """One fold: `train` and `test` are row numbers of the table, in time order; `holdout` marks the last one."""

    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    holdout: bool


@dataclass(frozen=True, slots=True)
class Learned:
    """What one fold taught: the study, and the out-of-sample information coefficients of the network and the linear model."""

    tuned: Tuned
    ic: float
    linear_ic: float
    collapsed: bool
    identity: str


def spans(n_rows: int, learning: LearningSettings) -> Iterator[Span]:
    """The walk-forward folds over the rows before the holdout, then the holdout itself, purged the same way."""
    folds = learning.folds
    holdout = n_rows - round(n_rows * folds.holdout_share)
    walk = walk_forward(
        holdout, n_folds=folds.n_folds, min_train_share=folds.min_train_share, label_bars=learning.horizon_bars, embargo_bars=folds.embargo_bars
    )
    for fold, (train, test) in enumerate(walk):
        yield Span(fold, train, test, holdout=False)
    yield Span(folds.n_folds, np.arange(holdout - learning.horizon_bars - folds.embargo_bars), np.arange(holdout, n_rows), holdout=True)


def learn(table: Table, span: Span, learning: LearningSettings, folder: Path, ledger: Callable[[dict[str, Any]], None]) -> Learned:
    """Tune, fit and export the network and the linear baseline of one fold into `folder`, resuming what a killed run left there."""
    seed = learning.training.seed + span.fold
    tuned = tune(table, span.train, learning, storage_path=folder / "study.log", study_name=folder.name, seed=seed, ledger=ledger)
    network, training = tuned.apply(learning)
    fitted = fit(table, span.train, network, training, lookback_bars=learning.lookback_bars, seed=seed, checkpoint_dir=folder / "checkpoints")
    save(fitted, folder / "network")
    linear = LinearForecaster.fit(table, span.train)
    linear.save(folder / "linear")
    return Learned(
        tuned=tuned,
        ic=information_coefficient(predict(fitted, table)[0], table.labels, span.test),
        linear_ic=information_coefficient(linear.predict(table)[0], table.labels, span.test),
        collapsed=fitted.collapsed,
        identity=fitted.identity,
    )


def glimpse(table: Table, span: Span, learning: LearningSettings) -> tuple[Table, NDArray[np.float32], NDArray[np.float32]]:
    """The last rows before a fold's test span and the first one in it, with the mean forecasts [time, asset] there of the network after its first steps, and
    of the linear model: enough to see what the two may learn from.
    """
    network = fit(
        table, span.train, learning.network, learning.training, lookback_bars=learning.lookback_bars, seed=learning.training.seed, steps=GLIMPSE_STEPS
    )
    linear = LinearForecaster.fit(table, span.train)
    rows = slice(max(int(span.test[0]) - GLIMPSE_ROWS, 0), int(span.test[0]) + 1)
    seen = replace(table, features=table.features[rows], labels=table.labels[rows], closes=table.closes[rows], times=table.times[rows])
    return seen, predict(network, seen)[0], linear.predict(seen)[0]
