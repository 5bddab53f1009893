"""The study: seeded, resumable, and every trial is told to the ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from configs.learning import LearningSettings, TuningSettings
from desk.errors import ContractBroken, NotFinite
from models.scores import forecast_earnings, forecast_sharpe, information_coefficient, outline
from models.tuning import Tuned, split, tune
from models.windows import Table

ROWS = np.arange(1000)


class Ledger:
    """Remembers each trial once, by its key, as the real one does."""

    def __init__(self) -> None:
        self.trials: dict[tuple[str, int], dict[str, Any]] = {}

    def __call__(self, trial: dict[str, Any]) -> None:
        self.trials.setdefault((trial["study"], trial["number"]), trial)


def study(table: Table, settings: LearningSettings, folder: Path, ledger: Ledger) -> Tuned:
    """A study of four short trials."""
    return tune(table, ROWS, settings, storage_path=folder / "study.log", study_name="fold-0", seed=9, ledger=ledger)


def without_numbers(tuned: Tuned) -> list[dict[str, Any]]:
    """What the trials that count found, in order: their numbers shift when one before them was killed."""
    return [{key: trial[key] for key in ("params", "score", "state")} for trial in tuned.trials if trial["state"] != "fail"]


def test_every_trial_reaches_the_ledger_and_the_best_one_wins(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    ledger = Ledger()

    tuned = study(planted(), small_learning, tmp_path, ledger)

    (name,) = {study for study, _ in ledger.trials}
    assert name.startswith("fold-0-")
    assert [(name, number) for number in range(4)] == list(ledger.trials)
    assert list(tuned.trials) == list(ledger.trials.values())
    assert 4 == tuned.n_trials
    completed = [trial for trial in tuned.trials if trial["state"] == "complete"]
    assert max(completed, key=lambda trial: trial["score"])["params"] == tuned.best_params
    assert {"learning_rate": 3e-3, "weight_decay": 1e-3, "dropout": 0.1, "channels": 8} == tuned.trials[0]["params"]


def test_the_best_parameters_become_the_settings_of_the_final_fit(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    tuned = study(planted(), small_learning, tmp_path, Ledger())

    network, training = tuned.apply(small_learning)

    assert tuned.best_params == {
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "dropout": network.dropout,
        "channels": network.channels,
    }
    assert (small_learning.network.layers, small_learning.training.steps) == (network.layers, training.steps)


def test_a_finished_study_is_read_back_without_another_trial(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    first = study(planted(), small_learning, tmp_path, Ledger())
    ledger = Ledger()

    again = study(planted(), small_learning, tmp_path, ledger)

    assert first == again
    assert 4 == len(ledger.trials)


# a program of its own, so that it can really be killed; it says the number of each finished trial
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import numpy as np
from conftest import planted_table
from configs.learning import LearningSettings
from models.tuning import tune

settings = LearningSettings.model_validate_json(sys.argv[2])
tune(planted_table(), np.arange(1000), settings, storage_path=Path(sys.argv[1]) / "study.log", study_name="fold-0", seed=9,
     ledger=lambda trial: print(trial["number"], flush=True))
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_study_killed_while_it_runs_ends_as_an_uninterrupted_one(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path), small_learning.model_dump_json()]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    next(line for line in process.stdout if line.strip() == "1")
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert -signal.SIGKILL == process.wait()
    ledger = Ledger()

    resumed = study(planted(), small_learning, tmp_path, ledger)

    assert list(range(resumed.n_trials)) == [number for _, number in ledger.trials]
    assert without_numbers(study(planted(), small_learning, tmp_path / "uninterrupted", Ledger())) == without_numbers(resumed)


def test_a_trial_left_running_by_a_killed_process_is_failed_and_run_again_with_its_parameters(
    planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path
) -> None:
    name = study(planted(), small_learning, tmp_path / "finished", Ledger()).trials[0]["study"]
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    abandoned = optuna.create_study(study_name=name, storage=storage, direction="maximize").ask()
    drawn = {
        "learning_rate": abandoned.suggest_float("learning_rate", *small_learning.tuning.learning_rate, log=True),
        "weight_decay": abandoned.suggest_float("weight_decay", *small_learning.tuning.weight_decay, log=True),
        "channels": abandoned.suggest_categorical("channels", small_learning.tuning.channels),
        "dropout": abandoned.suggest_float("dropout", *small_learning.tuning.dropout),
    }

    resumed = study(planted(), small_learning, tmp_path, Ledger())

    assert ["fail", "complete"] == [trial["state"] for trial in resumed.trials[:2]]
    assert [drawn, drawn] == [trial["params"] for trial in resumed.trials[:2]]
    assert 5 == resumed.n_trials


def test_other_data_or_bounds_make_another_study_whose_trials_count_anew(
    planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path
) -> None:
    ledger = Ledger()
    bounded = small_learning.model_copy(update={"tuning": small_learning.tuning.model_copy(update={"dropout": (0.0, 0.2)})})

    study(planted(), small_learning, tmp_path, ledger)
    study(planted(seed=1), small_learning, tmp_path, ledger)
    study(planted(), bounded, tmp_path, ledger)

    assert 12 == len(ledger.trials)


def test_asking_for_more_trials_continues_the_study(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    more = small_learning.model_copy(update={"tuning": small_learning.tuning.model_copy(update={"trials": 6})})

    first, second = study(planted(), small_learning, tmp_path, Ledger()), study(planted(), more, tmp_path, Ledger())

    assert first.trials == second.trials[:4]
    assert 6 == second.n_trials


def test_a_study_in_which_every_trial_fails_gives_up(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    table, ledger = planted(), Ledger()
    table.features[:] = 1.0

    with pytest.raises(NotFinite, match="failed trials"):
        study(table, small_learning, tmp_path, ledger)

    assert {("fail", None)} == {(trial["state"], trial["score"]) for trial in ledger.trials.values()}


def test_a_gap_of_label_and_embargo_separates_training_from_validation(small_learning: LearningSettings) -> None:
    inner, validation = split(ROWS, small_learning)

    assert 800 == validation[0]
    assert 800 - small_learning.horizon_bars - small_learning.folds.embargo_bars - 1 == inner[-1]
    assert 999 == validation[-1]


def test_too_short_a_history_is_refused(small_learning: LearningSettings) -> None:
    with pytest.raises(ContractBroken, match="longer history"):
        split(np.arange(20), small_learning)


def test_a_trial_never_sees_the_rows_behind_the_training_rows(planted: Callable[..., Table], small_learning: LearningSettings, tmp_path: Path) -> None:
    table, changed = planted(), planted()
    changed.features[1000:], changed.labels[999:], changed.closes[1000:] = 7.0, 7.0, 7.0
    one = small_learning.model_copy(update={"tuning": TuningSettings(trials=1, steps=2, channels=(8,))})

    first, second = study(table, one, tmp_path / "1", Ledger()), study(changed, one, tmp_path / "2", Ledger())

    assert first.trials == second.trials


def test_the_information_coefficient_is_a_correlation_over_what_is_known() -> None:
    mean = np.array([[1.0, np.nan], [2.0, 4.0], [3.0, 9.0]], dtype=np.float32)
    labels = np.array([[2.0, 1.0], [4.0, 8.0], [np.nan, 9.0]], dtype=np.float32)

    assert 1.0 == pytest.approx(information_coefficient(mean, labels, np.array([0, 1])))
    assert np.isnan(information_coefficient(mean, labels, np.array([0])))
    assert np.isnan(information_coefficient(np.ones_like(mean), labels, np.arange(3)))


def test_the_forecast_sharpe_is_that_of_holding_mean_over_sd_for_a_bar() -> None:
    rng = np.random.default_rng(1)
    moves, mean = rng.standard_normal((200, 1)) * 0.01, rng.standard_normal((201, 1)).astype(np.float32)
    closes = np.exp(np.concatenate(([[0.0]], np.cumsum(moves, axis=0))))

    found = forecast_earnings(mean, np.full_like(mean, 2.0), closes, np.arange(200))

    earned = mean[:200, 0] / 2 * moves[:, 0]
    assert earned == pytest.approx(found)
    assert earned.mean() / earned.std(ddof=1) == pytest.approx(forecast_sharpe(found))
    assert earned.sum() == pytest.approx(sum(outline(found, 7)), rel=1e-4)
