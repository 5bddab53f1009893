"""Tune and train one walk-forward fold; every trial goes to the trial ledger."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.learning import LearningSettings
from configs.operations import OperationsSettings
from tasks.features import bars_and_features
from tasks.policies import artefact_task
from tasks.values import Features, FoldFit, Validated

if TYPE_CHECKING:
    from models.walk import Span
    from models.windows import Table


@artefact_task(name="train_fold", ignore=("operations",))
def train_fold(fold: int, validated: Validated, features: Features, learning: LearningSettings, operations: OperationsSettings, *, folder: Path) -> FoldFit:
    """One Optuna study, one final fit, one linear baseline, exported into `folder`; resumes its own study and checkpoints."""
    from models.walk import learn
    from tasks.ledger import trial_ledger

    table, span = fold_of(fold, validated, features, learning, operations)
    learned = learn(table, span, learning, folder, trial_ledger(operations, market=validated.clean.table))
    return FoldFit(
        fold=fold,
        starts=instant(table.times[span.test[0]]),
        ends=None if span.holdout else instant(table.times[span.test[-1]]),
        folder=folder,
        best=learned.tuned.best_params,
        trials=learned.tuned.n_trials,
        trial_scores=tuple(score for score in learned.tuned.scores if math.isfinite(score)),
        ic=defined(learned.ic),
        linear_ic=defined(learned.linear_ic),
        collapsed=learned.collapsed,
        identity=learned.identity,
    )


def fold_of(fold: int, validated: Validated, features: Features, learning: LearningSettings, operations: OperationsSettings) -> tuple[Table, Span]:
    """The training table and the rows of one fold."""
    from models.walk import spans
    from models.windows import build

    bars, rows = bars_and_features(validated, features, operations)
    table = build(rows, bars, learning.horizon_bars)
    return table, list(spans(len(table.times), learning))[fold]


def instant(moment: Any) -> datetime:
    """An aware UTC datetime of a numpy microsecond stamp."""
    found: datetime = moment.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


def defined(number: float) -> float | None:
    """JSON has no NaN: what is undefined is absent."""
    return number if math.isfinite(number) else None
