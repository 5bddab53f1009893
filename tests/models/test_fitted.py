"""A trained network and its artefacts: what is saved is what trades."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from desk.errors import BadFile, Misconfigured
from models.fitted import Fitted, load, predict, save
from models.forecasters import LinearForecaster, OnnxForecaster, Stitched
from models.windows import Table

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_the_exported_graph_answers_as_the_network_does(fitted: Fitted, model_folder: Path, planted: Callable[..., Table]) -> None:
    table = planted()
    mean, sd = predict(fitted, table)
    forecaster = OnnxForecaster(model_folder)

    answers = np.array([forecaster.forecast("S1", NOON, table.features[row - 15 : row + 1, 1]) for row in range(15, 400)])

    np.testing.assert_allclose(answers[:, 0], mean[15:400, 1], atol=1e-5 * fitted.label_sd)
    np.testing.assert_allclose(answers[:, 1], sd[15:400, 1], rtol=1e-5)
    assert np.std(answers[:, 0]) > 0
    assert fitted.identity == forecaster.name_at(NOON)


def test_the_same_window_gets_the_same_bits(model_folder: Path, planted: Callable[..., Table]) -> None:
    forecaster, window = OnnxForecaster(model_folder), planted().features[100:116, 0]

    assert 1 == len({forecaster.forecast("S0", NOON, window) for _ in range(50)})


def test_predictions_begin_when_a_symbol_has_a_window_of_whole_rows_and_skip_its_holes(fitted: Fitted, planted: Callable[..., Table]) -> None:
    table = planted()
    table.features[:100, 0] = np.nan
    table.features[500:520, 1] = np.nan

    mean, sd = predict(fitted, table)

    assert [115, 15, 15] == [int(np.flatnonzero(np.isfinite(mean[:, asset]))[0]) for asset in range(3)]
    assert np.isnan(mean[500:520, 1]).all()
    assert np.isfinite(mean[520:, 1]).all()
    assert np.array_equal(np.isfinite(mean), np.isfinite(sd))


def test_the_forecast_sd_is_the_size_of_the_errors(fitted: Fitted, planted: Callable[..., Table]) -> None:
    table = planted()
    mean, sd = predict(fitted, table)

    errors = ((table.labels - mean) / sd)[16:999]

    assert 1.0 == pytest.approx(np.sqrt(np.mean(errors**2)), abs=0.03)


def test_a_saved_model_reads_back_identical(fitted: Fitted, model_folder: Path, planted: Callable[..., Table]) -> None:
    again = load(model_folder)

    assert fitted.identity == again.identity
    np.testing.assert_array_equal(predict(fitted, planted()), predict(again, planted()))


def test_saving_again_leaves_the_files_alone(fitted: Fitted, model_folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in model_folder.iterdir()}

    save(fitted, model_folder)

    assert before == {path.name: path.stat().st_mtime_ns for path in model_folder.iterdir()}
    assert {"model.json", "model.onnx", "weights.safetensors"} == set(before)


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "model.json"])
def test_an_altered_or_missing_file_is_refused(model_folder: Path, tmp_path: Path, name: str) -> None:
    altered, missing = tmp_path / "altered", tmp_path / "missing"
    shutil.copytree(model_folder, altered)
    shutil.copytree(model_folder, missing)
    (altered / name).write_bytes(b"x" + (altered / name).read_bytes())
    (missing / name).unlink()

    for folder in (altered, missing):
        with pytest.raises(BadFile, match="train the model again"):
            OnnxForecaster(folder)


def test_a_window_of_another_shape_is_refused(model_folder: Path) -> None:
    with pytest.raises(Misconfigured, match=r"\(16, 4\); found \(16, 5\)"):
        OnnxForecaster(model_folder).forecast("S0", NOON, np.zeros((16, 5), dtype=np.float32))


def test_the_linear_model_finds_the_planted_coefficients_and_reads_back(planted: Callable[..., Table], tmp_path: Path) -> None:
    """r = .01 ic x and x = (f0 + f1) / sqrt 2: both coefficients are .01 ic / sqrt 2, .0035 for ic .5, the others 0."""
    table = planted(6000, 4, ic=0.5)
    model = LinearForecaster.fit(table, np.arange(5000))

    model.save(tmp_path)
    again = LinearForecaster.load(tmp_path)

    np.testing.assert_allclose(model.coefficients[:-1] / model.scaler.sd, [0.00354, 0.00354, 0, 0], atol=2e-4)
    assert 0.01 * np.sqrt(0.75) == pytest.approx(model.residual_sd, rel=0.02)
    assert model.identity == again.identity == json.loads((tmp_path / "model.json").read_text())["identity"]
    assert model.predict(table)[0][77, 2] == pytest.approx(again.forecast("S2", NOON, table.features[77:78, 2])[0], rel=1e-5)


def test_a_trading_process_reads_models_without_torch(model_folder: Path) -> None:
    program = f"import sys; from pathlib import Path; from models.forecasters import OnnxForecaster; OnnxForecaster(Path({str(model_folder)!r})); "
    program += "print({'torch', 'mlflow', 'optuna'} & set(sys.modules))"

    assert "set()\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


class Constant:
    """A forecaster that says its number."""

    def __init__(self, number: float, lookback_bars: int = 4) -> None:
        self.number, self.lookback_bars = number, lookback_bars

    def forecast(self, symbol: str, closed_at: datetime, window: np.ndarray) -> tuple[float, float]:
        return self.number, 1.0

    def name_at(self, closed_at: datetime) -> str:
        return str(self.number)


def test_each_time_is_answered_by_its_own_folds_model() -> None:
    hours = [NOON + timedelta(hours=hour) for hour in range(5)]
    stitched = Stitched([(hours[2], hours[4], Constant(2.0)), (hours[1], hours[2], Constant(1.0))])

    answers = [stitched.forecast("S0", hour, np.zeros((4, 1)))[0] for hour in hours]

    np.testing.assert_array_equal([np.nan, 1.0, 2.0, 2.0, np.nan], answers)
    assert ["none", "1.0", "2.0", "2.0", "none"] == [stitched.name_at(hour) for hour in hours]
    assert 4 == stitched.lookback_bars


def test_overlapping_spans_and_unlike_windows_are_refused() -> None:
    with pytest.raises(Misconfigured, match="overlap"):
        Stitched([(NOON, NOON + timedelta(hours=2), Constant(1.0)), (NOON + timedelta(hours=1), NOON + timedelta(hours=3), Constant(2.0))])
    with pytest.raises(Misconfigured, match="one length"):
        Stitched([(NOON, NOON + timedelta(hours=1), Constant(1.0)), (NOON + timedelta(hours=1), NOON + timedelta(hours=3), Constant(2.0, 8))])
