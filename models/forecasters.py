"""Trained models as the desk sees them: a window in, mean and sd of the coming log return out. Nothing here imports torch.

Three implementations of `desk.strategy.forecast.Forecaster`: the exported network, a ridge regression as the baseline to beat, and a chain of
models each answering for its own span, so that a walk-forward backtest never asks a model about data it has seen.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.checks import checks_shape
from desk.errors import BadFile, ContractBroken, Misconfigured
from desk.strategy.forecast import Forecaster
from models.artefacts import read_card, write_model
from models.scaling import Scaler

if TYPE_CHECKING:
    from models.windows import Table

# ridge penalty as a share of the sample count: on unit-variance features it shrinks by a tenth of a percent, enough to survive equal columns
RIDGE_SHARE = 1e-3
NO_OPINION = (math.nan, math.nan)


class OnnxForecaster:
    """The exported network of one model folder on onnxruntime, one window at a time, one thread."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        card = read_card(folder)
        if card["kind"] != "network":
            raise BadFile(f"{folder} must hold an exported network; found a {card['kind']} model; name the network's own folder")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._run = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]).run
        self._shape = (card["lookback_bars"], len(card["feature_names"]))
        self._identity: str = card["identity"]

    @property
    def lookback_bars(self) -> int:
        """Feature rows needed for one forecast."""
        return int(self._shape[0])

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sd of the log return over the horizon, fractions. The shape of the call never varies, so neither do its bits."""
        if window.shape != self._shape:
            raise Misconfigured(f"this model sees windows [time, feature] of {self._shape}; found {window.shape} for {symbol}; use its own recipe")
        mean, sd = self._run(None, {"window": np.ascontiguousarray(window, dtype=np.float32)[None]})[0][0]
        return float(mean), float(sd)

    def name_at(self, closed_at: datetime) -> str:
        """Identity of the model: always the same."""
        return self._identity


@dataclass(frozen=True, slots=True)
class LinearForecaster:
    """Ridge regression on the newest feature row. `coefficients` [feature + 1] apply to scaled features and, last, to one; all in return units."""

    coefficients: NDArray[np.float64]
    scaler: Scaler
    residual_sd: float
    feature_names: tuple[str, ...]
    horizon_bars: int

    @classmethod
    def fit(cls, table: Table, train_rows: NDArray[np.int64]) -> LinearForecaster:
        """Closed-form ridge on every label that may be learned from; the intercept is not shrunk. The sd is that of the residuals."""
        from models.windows import learnable

        scaler = Scaler.fit(table.features[train_rows])
        known = learnable(table, train_rows)
        if not known.any():
            raise ContractBroken(f"a linear model needs labels to learn from; found none in {len(train_rows)} training rows; use a longer history")
        design = _with_one(scaler.scale(table.features[known]))
        labels = table.labels[known].astype(np.float64)
        penalty = RIDGE_SHARE * len(labels) * np.diag([1.0] * (design.shape[1] - 1) + [0.0])
        coefficients = np.linalg.lstsq(design.T @ design + penalty, design.T @ labels, rcond=None)[0]
        residual_sd = float(np.std(labels - design @ coefficients))
        return cls(coefficients, scaler, residual_sd, table.feature_names, table.horizon_bars)

    @property
    def lookback_bars(self) -> int:
        """Only the newest row counts."""
        return 1

    @property
    def identity(self) -> str:
        """sha256 of the coefficients and everything they apply to."""
        return hashlib.sha256(json.dumps(self._numbers(), sort_keys=True).encode()).hexdigest()

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sd of the log return over the horizon, fractions."""
        return float(self._means(window[-1:])[0]), self.residual_sd

    def name_at(self, closed_at: datetime) -> str:
        """Identity of the model: always the same."""
        return self.identity

    def predict(self, table: Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and sd [time, asset] of every whole row, fractions; NaN elsewhere."""
        whole = table.whole()
        means, sds = (np.full(whole.shape, np.nan, dtype=np.float32) for _ in range(2))
        means[whole] = self._means(table.features[whole])
        sds[whole] = self.residual_sd
        return means, sds

    def save(self, folder: Path) -> None:
        """Write the model as one JSON card."""
        write_model(folder, {**self._numbers(), "kind": "linear", "identity": self.identity, "lookback_bars": 1}, {})

    @classmethod
    def load(cls, folder: Path) -> LinearForecaster:
        """Read back what `save` wrote."""
        card = read_card(folder)
        if card["kind"] != "linear":
            raise BadFile(f"{folder} must hold a linear model; found a {card['kind']} model; name the linear model's own folder")
        return cls(
            np.array(card["coefficients"]),
            Scaler(np.array(card["scaler"]["mean"], dtype=np.float32), np.array(card["scaler"]["sd"], dtype=np.float32)),
            card["residual_sd"],
            tuple(card["feature_names"]),
            card["horizon_bars"],
        )

    @checks_shape(features="row feature")
    def _means(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return _with_one(self.scaler.scale(features)) @ self.coefficients

    def _numbers(self) -> dict[str, Any]:
        return {
            "coefficients": self.coefficients.tolist(),
            "scaler": {"mean": self.scaler.mean.tolist(), "sd": self.scaler.sd.tolist()},
            "residual_sd": self.residual_sd,
            "feature_names": list(self.feature_names),
            "horizon_bars": self.horizon_bars,
        }


def _with_one(features: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate((features.astype(np.float64), np.ones((len(features), 1))), axis=1)


def loaded(folder: Path) -> Forecaster:
    """The model of a folder, whatever its kind."""
    return LinearForecaster.load(folder) if read_card(folder)["kind"] == "linear" else OnnxForecaster(folder)


class Stitched:
    """A chain of models, each answering for its own span only: bar closes from `from` on and before `to`, aware UTC. Outside every span: no opinion."""

    def __init__(self, parts: Sequence[tuple[datetime, datetime, Forecaster]]) -> None:
        self._parts = sorted(parts, key=lambda part: part[0])
        lookbacks = {forecaster.lookback_bars for _, _, forecaster in parts}
        if len(lookbacks) != 1:
            raise Misconfigured(f"stitched models must see windows of one length; found {sorted(lookbacks)} rows; train every fold with one lookback_bars")
        for (_, to, _), (start, _, _) in zip(self._parts, self._parts[1:], strict=False):
            if start < to:
                raise Misconfigured(f"stitched models must answer for spans that do not overlap; found one until {to} and one from {start}; check the folds")
        self._lookback_bars = lookbacks.pop()

    @property
    def lookback_bars(self) -> int:
        """Feature rows needed for one forecast, the same for every part."""
        return self._lookback_bars

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """The answer of the model whose span this close lies in; (nan, nan) outside every span."""
        forecaster = self._at(closed_at)
        return NO_OPINION if forecaster is None else forecaster.forecast(symbol, closed_at, window)

    def name_at(self, closed_at: datetime) -> str:
        """Identity of the model that answers at this close, "none" outside every span."""
        forecaster = self._at(closed_at)
        return "none" if forecaster is None else forecaster.name_at(closed_at)

    def _at(self, closed_at: datetime) -> Forecaster | None:
        return next((forecaster for start, to, forecaster in self._parts if start <= closed_at < to), None)
