"""Walk forward: what one fold learns never overlaps what it answers for, and a fold learned twice is learned once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.learning import LearningSettings
from models.walk import learn, spans
from models.windows import Table


def test_every_fold_trains_behind_a_gap_and_the_holdout_comes_last(small_learning: LearningSettings) -> None:
    found = list(spans(2000, small_learning))

    gap = small_learning.horizon_bars + small_learning.folds.embargo_bars
    assert small_learning.folds.n_folds + 1 == len(found)
    assert [False] * small_learning.folds.n_folds + [True] == [span.holdout for span in found]
    assert all(span.train[-1] + gap < span.test[0] for span in found)
    assert np.array_equal(np.arange(found[0].test[0], 2000), np.concatenate([span.test for span in found]))


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_fold_learned_again_tells_the_same_and_runs_no_trial(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    table, ledger = planted(ic=0.5), list[dict[str, Any]]()
    span = next(spans(len(table.times), small_learning))

    first = learn(table, span, small_learning, tmp_path / "fold-0", ledger.append)
    again = learn(table, span, small_learning, tmp_path / "fold-0", ledger.append)

    assert first == again
    assert small_learning.tuning.trials == len({trial["number"] for trial in ledger})
    assert first.linear_ic > 0.3
