"""The one training loop: AdamW, a cosine schedule, a Student-t likelihood, checkpoints.

Batch, dropout and learning rate are functions of (seed, step) alone, so a run killed at any instant continues from its newest checkpoint to the very
same weights, bit for bit, on the same machine, thread count and torch build.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.learning import NetworkSettings, TrainingSettings
from data_contracts.checks import checks_shape
from desk.errors import NotFinite
from desk.log import event
from models import checkpoint
from models.fitted import Fitted
from models.network import Network
from models.scaling import Scaler
from models.windows import Blocks, Rows, Table, generator, learnable

# returns have tails like a Student-t of 4 to 6 degrees of freedom; under a Gaussian a few crashes would teach everything
DEGREES_OF_FREEDOM = 5
WARMUP_SHARE = 0.1
FINAL_RATE_SHARE = 0.02
MAX_GRADIENT_NORM = 1.0
# forecasts that vary by less than this many label sds are a constant: smaller than any information coefficient worth having
CONSTANT_SDS = 1e-3
BLOCKS_LOOKED_AT = 256

OnEval = Callable[[int, Fitted], None]


@dataclass(frozen=True, slots=True)
class Course:
    """What a training run works with: prepared data, the network and its optimiser, and the hash of everything the outcome depends on."""

    blocks: Blocks
    network: Network
    optimiser: torch.optim.Optimizer
    settings: NetworkSettings
    training: TrainingSettings
    seed: int
    steps: int
    inputs_hash: str
    scaler: Scaler
    label_sd: float


@checks_shape(train_rows="row")
def fit(
    table: Table,
    train_rows: NDArray[np.int64],
    network: NetworkSettings,
    training: TrainingSettings,
    *,
    lookback_bars: int,
    seed: int,
    steps: int | None = None,
    checkpoint_dir: Path | None = None,
    on_eval: OnEval | None = None,
    deadline: Callable[[], bool] | None = None,
) -> Fitted:
    """Train on the labels of `train_rows` (row numbers of the table) and nothing else; steps default to the settings' own.

    Every checkpoint_every_steps, and at the end: a checkpoint into `checkpoint_dir`, then `on_eval(step, model so far)`, which may raise to stop.
    When `deadline()` turns true the loop writes a checkpoint and returns what it has (`steps` says how far it came); on SIGTERM, in the main thread,
    it writes a checkpoint and exits. Resumes from `checkpoint_dir` when that holds a checkpoint of the very same inputs. NotFinite when the loss is not.
    """
    torch.set_num_threads(training.threads)
    course = _prepare(table, train_rows, network, training, lookback_bars=lookback_bars, seed=seed, steps=steps or training.steps)
    folder = None if checkpoint_dir is None else checkpoint_dir / course.inputs_hash[:16]
    step = _resume(course, folder)
    stopping = False
    with Interruption() as interruption:
        while step < course.steps and not stopping:
            _learn(course, step)
            step += 1
            stopping = interruption.asked or (deadline is not None and deadline())
            if not stopping and step < course.steps and step % training.checkpoint_every_steps:
                continue
            _store(course, step, folder)
            interruption.obey()
            if on_eval is not None:
                on_eval(step, _fitted(table, course, step))
    return _fitted(table, course, step)


def _prepare(
    table: Table, train_rows: NDArray[np.int64], settings: NetworkSettings, training: TrainingSettings, *, lookback_bars: int, seed: int, steps: int
) -> Course:
    scaler = Scaler.fit(table.features[train_rows])
    rows = Rows.of(table, scaler)
    known = rows.take(learnable(table, train_rows))
    labels = rows.take(table.labels)
    label_sd = float(labels[known].double().std(correction=0)) if known.any() else math.nan
    # labels that never move teach nothing, and would be divided by zero
    label_sd = label_sd if label_sd > 0 else 1.0
    blocks = Blocks.of(rows, labels / label_sd, known, block_bars=training.block_bars, lookback_bars=lookback_bars)
    network = Network(settings, len(table.feature_names), lookback_bars, seed=seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
    return Course(
        blocks=blocks,
        network=network,
        optimiser=optimiser,
        settings=settings,
        training=training,
        seed=seed,
        steps=steps,
        inputs_hash=_inputs_hash(blocks, settings, training, seed=seed, steps=steps),
        scaler=scaler,
        label_sd=label_sd,
    )


def _inputs_hash(blocks: Blocks, settings: NetworkSettings, training: TrainingSettings, *, seed: int, steps: int) -> str:
    """sha256 of data, settings, seed, length and torch build. How often checkpoints are written changes nothing, so it is left out."""
    data = checkpoint.digest_of({"features": blocks.rows.features, "labels": blocks.labels, "known": blocks.known, "starts": blocks.starts})
    about = {
        "data": data,
        "network": settings.model_dump(),
        "training": training.model_dump(exclude={"checkpoint_every_steps", "steps", "seed"}),
        "lookback_bars": blocks.lookback_bars,
        "seed": seed,
        "steps": steps,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _learn(course: Course, step: int) -> None:
    """One optimiser step."""
    features, labels, known = course.blocks.batch(course.seed, step, course.training.batch_blocks)
    course.network.train()
    course.network.generator.set_state(generator(course.seed, "dropout", step).get_state())
    loss = negative_log_likelihood(course.network(features), labels, known)
    if not torch.isfinite(loss):
        raise NotFinite(f"the training loss must be finite; found {loss.item()} at step {step}; lower training.learning_rate or look at the features")
    for group in course.optimiser.param_groups:
        group["lr"] = course.training.learning_rate * rate_share(step, course.steps)
    course.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(course.network.parameters(), MAX_GRADIENT_NORM)
    course.optimiser.step()


@checks_shape(outputs="batch time 2", labels="batch time", known="batch time")
def negative_log_likelihood(outputs: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Mean Student-t loss of outputs [batch, time, 2] (mean, log-sd) on labels [batch, time], both in label sds, over what is known; up to a constant."""
    mean, log_sd = outputs.unbind(-1)
    log_scale = log_sd + 0.5 * math.log((DEGREES_OF_FREEDOM - 2) / DEGREES_OF_FREEDOM)
    surprise = ((labels - mean) * torch.exp(-log_scale)) ** 2 / DEGREES_OF_FREEDOM
    losses = log_scale + 0.5 * (DEGREES_OF_FREEDOM + 1) * torch.log1p(surprise)
    return (losses * known).sum() / known.sum().clamp(min=1)


def rate_share(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: a short linear rise, then a cosine down to 2 %."""
    warmup = max(1, round(steps * WARMUP_SHARE))
    if step < warmup:
        return (step + 1) / warmup
    fall = (step - warmup) / max(1, steps - warmup)
    return FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * fall))


def _store(course: Course, step: int, folder: Path | None) -> None:
    if folder is not None:
        checkpoint.write(folder, checkpoint.of(step, course.inputs_hash, course.network, course.optimiser))


def _resume(course: Course, folder: Path | None) -> int:
    """Continue from the newest whole checkpoint of these inputs; returns the step to take next."""
    found = None if folder is None else checkpoint.newest(folder, course.inputs_hash)
    if found is None:
        return 0
    checkpoint.restore(found, course.network, course.optimiser)
    event("training.resumed", step=found.step, steps=course.steps, inputs=course.inputs_hash[:16])
    return found.step


def _fitted(table: Table, course: Course, step: int) -> Fitted:
    course.network.eval()
    spread, error = _look(course)
    return Fitted(
        network=course.network,
        settings=course.settings,
        scaler=course.scaler,
        label_sd=course.label_sd,
        sd_factor=error,
        feature_names=table.feature_names,
        horizon_bars=table.horizon_bars,
        lookback_bars=course.blocks.lookback_bars,
        steps=step,
        inputs_hash=course.inputs_hash,
        collapsed=spread < CONSTANT_SDS,
    )


def _look(course: Course) -> tuple[float, float]:
    """Over blocks spread evenly through the training data: the sd of the mean forecasts in label sds, and the rms of errors in units of the forecast sd.

    The likelihood's tails are a guess, so its sd is off by one factor; the rms of the training errors is that factor.
    """
    starts = course.blocks.starts
    features, labels, known = course.blocks.at(starts[torch.linspace(0, len(starts) - 1, BLOCKS_LOOKED_AT).long()])
    with torch.inference_mode():
        mean, log_sd = course.network(features).unbind(-1)
    errors = ((labels - mean) * torch.exp(-log_sd))[known]
    rms = float(errors.square().mean().sqrt())
    return float(mean.std(correction=0)), rms if rms > 0 else 1.0


class Interruption:
    """Turns SIGTERM into a wish that the loop grants at its next step. Only the main thread can listen; elsewhere checkpoints alone must do."""

    def __init__(self) -> None:
        self.asked = False
        self._listening = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Interruption:
        if self._listening:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._listening:
            signal.signal(signal.SIGTERM, self._before)

    def obey(self) -> None:
        """Leave the process if asked to, by the exit status of a program ended by SIGTERM."""
        if self.asked:
            raise SystemExit(128 + signal.SIGTERM)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
