"""A trained network with everything needed to use it: forecasting a whole table, and the artefacts that the desk and the registry read.

`save` writes `model.onnx` (raw features in, return units out: what trades), `weights.safetensors` (to fine-tune or inspect) and `model.json`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.learning import NetworkSettings
from models.artefacts import holds, read_card, write_model
from models.checkpoint import digest_of
from models.network import Network
from models.scaling import CLIP_SDS, Scaler
from models.windows import Rows, Table, contexts

WEIGHTS = "weights.safetensors"
GRAPH = "model.onnx"
# blocks forecast at once and targets in each: a working set that stays in the processor's cache
BLOCKS_AT_ONCE = 24
TARGETS_PER_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network after `steps` steps, in evaluation mode. `label_sd` is the training labels' sd, a fraction, and the unit of its outputs.

    `sd_factor` stretches the forecast sds so that the training errors, divided by them, have an rms of 1; `collapsed` means it answers a constant.
    """

    network: Network
    settings: NetworkSettings
    scaler: Scaler
    label_sd: float
    sd_factor: float
    feature_names: tuple[str, ...]
    horizon_bars: int
    lookback_bars: int
    steps: int
    inputs_hash: str
    collapsed: bool

    @property
    def identity(self) -> str:
        """sha256 of everything that decides a forecast: weights, scaler, label scale, architecture, feature names."""
        about = json.dumps({"weights": self.weights_hash, **self.architecture()}, sort_keys=True)
        return hashlib.sha256(about.encode()).hexdigest()

    @property
    def weights_hash(self) -> str:
        """sha256 of the weights alone."""
        return digest_of(self.network.state_dict())

    def architecture(self) -> dict[str, Any]:
        """What rebuilds this model around its weights."""
        return {
            "network": self.settings.model_dump(),
            "feature_names": list(self.feature_names),
            "lookback_bars": self.lookback_bars,
            "horizon_bars": self.horizon_bars,
            "label_sd": self.label_sd,
            "sd_factor": self.sd_factor,
            "scaler": {"mean": self.scaler.mean.tolist(), "sd": self.scaler.sd.tolist()},
        }


class InReturns(nn.Module):
    """The network between raw features and return units: window [1, lookback, feature] -> [1, 2], mean and sd of the log return, fractions."""

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        self.network = fitted.network
        self.label_sd, self.sd_factor = fitted.label_sd, fitted.sd_factor
        self.register_buffer("mean", torch.from_numpy(fitted.scaler.mean))
        self.register_buffer("sd", torch.from_numpy(fitted.scaler.sd))

    def forward(self, window: Tensor) -> Tensor:
        """Scale, forecast, scale back."""
        scaled = torch.clamp((window - self.mean) / self.sd, -CLIP_SDS, CLIP_SDS)
        mean, log_sd = self.network(scaled)[:, -1].unbind(-1)
        return torch.stack((mean, torch.exp(log_sd) * self.sd_factor), dim=-1) * self.label_sd


def predict(fitted: Fitted, table: Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and sd [time, asset] of the log return over the horizon, fractions; NaN where a symbol has no lookback_bars whole rows yet."""
    means, sds = (np.full(table.labels.shape, np.nan, dtype=np.float32) for _ in range(2))
    rows = Rows.of(table, fitted.scaler)
    for starts, n_targets in _tiles(rows, fitted.lookback_bars):
        with torch.inference_mode():
            mean, log_sd = fitted.network(rows.features[contexts(starts, n_targets, fitted.lookback_bars)]).unbind(-1)
        targets = (starts[:, None] + torch.arange(n_targets)).numpy()
        cells = rows.time[targets], rows.asset[targets]
        means[cells] = mean.numpy() * fitted.label_sd
        sds[cells] = log_sd.exp().numpy() * (fitted.sd_factor * fitted.label_sd)
    return means, sds


def _tiles(rows: Rows, lookback_bars: int) -> Iterator[tuple[Tensor, int]]:
    """Blocks that cover every row with enough history: first targets [block] and targets in each. The last block of a symbol overlaps the one before."""
    for asset in np.unique(rows.asset):
        first, end = np.searchsorted(rows.asset, (asset, asset + 1)) + np.array((lookback_bars - 1, 0))
        if first >= end:
            continue
        n_targets = min(TARGETS_PER_BLOCK, int(end - first))
        starts = torch.from_numpy(np.unique(np.append(np.arange(first, end - n_targets, n_targets), end - n_targets)))
        for group in starts.split(BLOCKS_AT_ONCE):
            yield group, n_targets


def save(fitted: Fitted, folder: Path) -> None:
    """Export a model into its folder; a folder that already holds this very model is left alone, one that holds another is replaced."""
    identity = fitted.identity
    if holds(folder, identity):
        return
    card = {
        **fitted.architecture(),
        "kind": "network",
        "identity": identity,
        "weights_hash": fitted.weights_hash,
        "steps": fitted.steps,
        "inputs_hash": fitted.inputs_hash,
        "collapsed": fitted.collapsed,
    }
    write_model(folder, card, {GRAPH: _graph(fitted), WEIGHTS: safetensors.torch.save(fitted.network.state_dict())})


def load(folder: Path) -> Fitted:
    """Read back what `save` wrote; BadFile when anything in the folder is missing or altered."""
    card = read_card(folder)
    settings = NetworkSettings.model_validate(card["network"])
    network = Network(settings, len(card["feature_names"]), card["lookback_bars"], seed=0)
    network.load_state_dict(safetensors.torch.load((folder / WEIGHTS).read_bytes()))
    scaler = Scaler(np.array(card["scaler"]["mean"], dtype=np.float32), np.array(card["scaler"]["sd"], dtype=np.float32))
    return Fitted(
        network=network.eval(),
        settings=settings,
        scaler=scaler,
        label_sd=card["label_sd"],
        sd_factor=card["sd_factor"],
        feature_names=tuple(card["feature_names"]),
        horizon_bars=card["horizon_bars"],
        lookback_bars=card["lookback_bars"],
        steps=card["steps"],
        inputs_hash=card["inputs_hash"],
        collapsed=card["collapsed"],
    )


def _graph(fitted: Fitted) -> bytes:
    """The model as an ONNX graph for one window: input `window` [1, lookback, feature], output `forecast` [1, 2]."""
    window = torch.zeros(1, fitted.lookback_bars, len(fitted.feature_names))
    # the exporter warns about torchvision, which we do not have, and about its own deprecated calls
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore", FutureWarning)
            program = torch.onnx.export(InReturns(fitted).eval(), (window,), input_names=["window"], output_names=["forecast"], dynamo=True, verbose=False)
            assert program is not None
            path = Path(folder) / GRAPH
            program.save(path)
            return path.read_bytes()
    finally:
        registration.setLevel(level)
