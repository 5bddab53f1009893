"""One Optuna study per walk-forward fold: seeded, resumable after a kill, every trial told to the trial ledger.

A trial trains on the older part of the fold's training rows and is scored on the newest part, with a purged and embargoed gap between. The score is the
information coefficient, pooled over time and symbols: it needs no costs or policy, so a study keeps its meaning when those change. The Sharpe ratio of the
same forecasts stands beside it in every record, because the promotion gate deflates by how much Sharpe ratios vary over trials.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from configs.learning import LearningSettings, NetworkSettings, TrainingSettings
from desk.errors import ContractBroken, NotFinite
from models.fitted import Fitted, predict
from models.scores import forecast_earnings, forecast_sharpe, information_coefficient, outline
from models.training import fit
from models.windows import Table

Ledger = Callable[[dict[str, Any]], None]

# what a trial earned is kept by so many spans of its validation rows: deflation asks which trials resemble each other
SPANS = 64
# looks at a trial before its end; a trial worse than the median of the others at a look is stopped
LOOKS = 2
TRIALS_BEFORE_PRUNING = 3
# a study whose every trial fails would never end
FAILURES_ALLOWED = 10
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a study found: the best trial's parameters and the records of all trials, in the form in which the ledger saw them."""

    best_params: dict[str, float | int]
    trials: tuple[dict[str, Any], ...]

    @property
    def n_trials(self) -> int:
        """Trials evaluated: complete, pruned and failed. Every one of them was a chance to be lucky."""
        return len(self.trials)

    @property
    def scores(self) -> tuple[float, ...]:
        """Information coefficients of the trials that have one."""
        return tuple(trial["score"] for trial in self.trials if trial["score"] is not None)

    def apply(self, learning: LearningSettings) -> tuple[NetworkSettings, TrainingSettings]:
        """The settings of the final fit: the configured ones with the best trial's parameters."""
        return applied(learning, self.best_params)


def tune(
    table: Table,
    train_rows: NDArray[np.int64],
    settings: LearningSettings,
    *,
    storage_path: Path,
    study_name: str,
    seed: int,
    ledger: Ledger,
) -> Tuned:
    """Run the study until `settings.tuning.trials` trials are complete or pruned, continuing whatever `storage_path` already holds.

    `ledger` hears of every trial at least once, as {"study", "number", "state", "params", "score", "sharpe", "earned"}; (study, number) names it for good.
    The study's full name ends in a digest of data and settings: other data or bounds make another study, and its trials count anew.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open(storage_path, f"{study_name}-{_digest(table, train_rows, settings, seed)[:16]}")
    _recover(study)
    # a kill may fall between a trial's end and its entry in the ledger: tell everything again
    for trial in study.trials:
        _tell(ledger, study, trial)
    if not study.trials:
        study.enqueue_trial(_configured(settings))
    inner, validation = split(train_rows, settings)

    def objective(trial: optuna.Trial) -> float:
        return _score(trial, table, inner, validation, settings=settings, seed=seed)

    failures_allowed = _failures(study) + FAILURES_ALLOWED
    while len(study.get_trials(deepcopy=False, states=COUNTED)) < settings.tuning.trials:
        # a sampler seeded by position, not carried along: a resumed study proposes what an uninterrupted one would have
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False, states=COUNTED)))
        study.optimize(objective, n_trials=1, catch=(NotFinite,), callbacks=[lambda study, trial: _tell(ledger, study, trial)])
        if _failures(study) > failures_allowed:
            raise NotFinite(f"a study must find finite scores; found {_failures(study)} failed trials in {study.study_name}; look at the features and labels")
    return Tuned(dict(study.best_trial.params), tuple(_record(study, trial) for trial in study.trials if trial.state.is_finished()))


def _digest(table: Table, train_rows: NDArray[np.int64], settings: LearningSettings, seed: int) -> str:
    """sha256 of what a trial's score depends on besides its parameters. How many trials are wanted changes none of them."""
    about = {
        "settings": settings.model_dump(mode="json", exclude={"tuning": {"trials"}, "training": {"steps", "checkpoint_every_steps"}, "promotion": True}),
        "features": table.feature_names,
        "symbols": table.symbols,
        "horizon_bars": table.horizon_bars,
        "seed": seed,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for values in (table.times, table.closes, table.features):
        digest.update(values[train_rows].tobytes())
    return digest.hexdigest()


def split(train_rows: NDArray[np.int64], settings: LearningSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that a trial trains on and rows that score it: the newest share, behind a gap of label length and embargo."""
    cut = round(len(train_rows) * (1 - settings.tuning.validation_share))
    inner = train_rows[: max(0, cut - settings.horizon_bars - settings.folds.embargo_bars)]
    # labels of the newest rows end outside the training rows: they belong to the test span
    validation = train_rows[cut:]
    if not len(inner) or not len(validation):
        raise ContractBroken(
            f"tuning needs training rows on both sides of its split; found {len(train_rows)} rows; use a longer history or fewer learning.folds.embargo_bars"
        )
    return inner, validation


def applied(settings: LearningSettings, params: dict[str, Any]) -> tuple[NetworkSettings, TrainingSettings]:
    """Network and training settings with a trial's parameters in their places, validated again."""
    network = {**settings.network.model_dump(), **{name: params[name] for name in ("channels", "dropout")}}
    training = {**settings.training.model_dump(), **{name: params[name] for name in ("learning_rate", "weight_decay")}}
    return NetworkSettings.model_validate(network), TrainingSettings.model_validate(training)


class KernelLock:
    """A lock that dies with its process. Optuna's own are files: one left by a killed process holds up the next for half a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held = self._path.open("w")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._held is not None:
            self._held.close()


def _open(storage_path: Path, study_name: str) -> optuna.Study:
    storage_path.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(storage_path), KernelLock(storage_path.with_suffix(".lock"))))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING)
    return optuna.create_study(study_name=study_name, storage=storage, direction="maximize", pruner=pruner, load_if_exists=True)


def _recover(study: optuna.Study) -> None:
    """Trials still RUNNING belong to a killed process (a study has one owner at a time): fail them and queue their parameters again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"resumed_from": trial.number})


def _configured(settings: LearningSettings) -> dict[str, Any]:
    """The configured values, so that tuning never does worse in its own eyes than not tuning; those outside the bounds are left to the sampler."""
    tuning = settings.tuning
    wanted = {
        "learning_rate": (settings.training.learning_rate, tuning.learning_rate),
        "weight_decay": (settings.training.weight_decay, tuning.weight_decay),
        "dropout": (settings.network.dropout, tuning.dropout),
    }
    params: dict[str, Any] = {name: value for name, (value, (low, high)) in wanted.items() if low <= value <= high}
    return params | ({"channels": settings.network.channels} if settings.network.channels in tuning.channels else {})


def _score(trial: optuna.Trial, table: Table, inner: NDArray[np.int64], validation: NDArray[np.int64], *, settings: LearningSettings, seed: int) -> float:
    """Train one trial and score it; pruned when an early look is worse than the median."""
    tuning = settings.tuning
    params = {
        "learning_rate": trial.suggest_float("learning_rate", *tuning.learning_rate, log=True),
        "weight_decay": trial.suggest_float("weight_decay", *tuning.weight_decay, log=True),
        "channels": trial.suggest_categorical("channels", tuning.channels),
        "dropout": trial.suggest_float("dropout", *tuning.dropout),
    }
    network, training = applied(settings, params)
    training = training.model_copy(update={"checkpoint_every_steps": max(1, math.ceil(tuning.steps / (LOOKS + 1)))})
    tail = _only(table, validation, settings.lookback_bars)

    def look(step: int, fitted: Fitted) -> None:
        forecast = predict(fitted, tail.table)
        score = information_coefficient(forecast[0], tail.table.labels, tail.rows)
        earned = forecast_earnings(*forecast, tail.table.closes, tail.rows)
        trial.set_user_attr("sharpe", forecast_sharpe(earned))
        trial.set_user_attr("earned", outline(earned, SPANS))
        trial.set_user_attr("score", score)
        trial.report(score, step)
        if step < tuning.steps and trial.should_prune():
            raise optuna.TrialPruned

    fit(table, inner, network, training, lookback_bars=settings.lookback_bars, seed=seed, steps=tuning.steps, on_eval=look)
    score = float(trial.user_attrs["score"])
    if not math.isfinite(score):
        raise NotFinite(f"a trial's score must be finite; found {score} in trial {trial.number}: its forecasts are constant or no label is known")
    return score


@dataclass(frozen=True, slots=True)
class Tail:
    """The part of a table that scores trials, and the rows of it that count; the rows before them are context."""

    table: Table
    rows: NDArray[np.int64]


def _only(table: Table, validation: NDArray[np.int64], lookback_bars: int) -> Tail:
    """Cut out the validation rows with the context their windows need. Labels that end behind them are unknown here: they lie in the test span."""
    start = max(0, int(validation[0]) - lookback_bars + 1)
    end = int(validation[-1]) + 1
    labels = table.labels[start:end].copy()
    for asset in range(labels.shape[1]):
        own = np.flatnonzero(np.isfinite(table.closes[start:end, asset]))
        labels[own[-table.horizon_bars :], asset] = np.nan
    cut = Table(
        features=table.features[start:end],
        labels=labels,
        closes=table.closes[start:end],
        times=table.times[start:end],
        symbols=table.symbols,
        feature_names=table.feature_names,
        horizon_bars=table.horizon_bars,
    )
    return Tail(cut, validation - start)


def _tell(ledger: Ledger, study: optuna.Study, trial: FrozenTrial) -> None:
    if trial.state.is_finished():
        ledger(_record(study, trial))


def _record(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """One trial as the ledger keeps it, JSON-able. A figure that is undefined, or that a trial died too early to have, is None."""
    return {
        "study": study.study_name,
        "number": trial.number,
        "state": trial.state.name.lower(),
        "params": dict(trial.params),
        **{figure: _known(trial.user_attrs.get(figure)) for figure in ("score", "sharpe")},
        "earned": trial.user_attrs.get("earned"),
    }


def _known(figure: float | None) -> float | None:
    return figure if figure is not None and math.isfinite(figure) else None


def _failures(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))
