"""MLflow as memory: repeating a step never makes a second run or version, and what comes back is what went in."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest

from data_contracts.dataset import DatasetRef
from desk.errors import BadFile
from models import registry
from models.artefacts import write_model
from models.evidence import Evidence
from models.forecasters import OnnxForecaster
from models.windows import Table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EVIDENCE = Evidence(np.array([0.1, 0.2]), np.array([0.3]), n_trials=7, trial_sharpe_variance=0.01)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DATASET = DatasetRef(
    stage="features", table="features/core", version=3, content_hash="ab" * 32, rows=10, span=(NOON, NOON), symbols=("BTC/USDT",), timeframe="1h"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh store, initialised by two processes at once."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'deep' / 'mlflow.db'}"
    context = multiprocessing.get_context("spawn")
    first_touches = [context.Process(target=registry.initialise, args=(uri,)) for _ in range(2)]
    for process in first_touches:
        process.start()
    for process in first_touches:
        process.join()
    assert [0, 0] == [process.exitcode for process in first_touches]
    return uri


def record(store: str, identity: str, plot: Path) -> str:
    """Record a run with one of everything."""
    return registry.record_training(
        store,
        "tradewind",
        identity=identity,
        run_name="train-fold-0",
        params={f"p{number}": number for number in range(130)},
        metrics={"ic": 0.05, "undefined": float("nan")},
        datasets=[DATASET],
        tags={"settings_hash": "s1"},
        artifacts=[plot],
    )


def test_a_run_is_recorded_once_with_everything_that_explains_it(store: str, tmp_path: Path) -> None:
    plot = tmp_path / "equity.png"
    plot.write_bytes(b"plot")

    run_id, again = record(store, "once", plot), record(store, "once", plot)

    run = registry.client_of(store).get_run(run_id)
    assert run_id == again
    assert 130 == len(run.data.params)
    assert {"ic": 0.05} == run.data.metrics
    assert "s1" == run.data.tags["settings_hash"]
    assert "features/core" == run.inputs.dataset_inputs[0].dataset.name
    assert DATASET.content_hash.startswith(run.inputs.dataset_inputs[0].dataset.digest)
    assert ["equity.png"] == [file.path for file in registry.client_of(store).list_artifacts(run_id)]
    assert "FINISHED" == run.info.status


def test_versions_aliases_and_the_champion(store: str, model_folder: Path, tmp_path: Path, planted: Callable[..., Table]) -> None:
    plot = tmp_path / "equity.png"
    plot.write_bytes(b"plot")
    run_id = record(store, "versions", plot)

    assert registry.champion(store, "desk") is None
    first = registry.register(store, "desk", model_folder, EVIDENCE, {"settings_hash": "s1"}, identity="one", run_id=run_id)
    again = registry.register(store, "desk", model_folder, EVIDENCE, {}, identity="one", run_id=run_id)
    second = registry.register(store, "desk", model_folder, EVIDENCE, {}, identity="two", run_id=run_id)
    assert ["1", "1", "2"] == [first, again, second]

    for version in (first, second, second):
        registry.alias(store, "desk", "champion", version)
    registry.alias(store, "desk", "challenger", first)
    assert {"champion": "2", "previous": "1", "challenger": "1"} == {
        word: str(version) for word, version in registry.client_of(store).get_registered_model("desk").aliases.items()
    }

    reigning = registry.champion(store, "desk")
    assert reigning is not None
    assert ("2", run_id) == (reigning.version, reigning.run_id)
    assert EVIDENCE.to_json() == reigning.evidence.to_json()
    window = planted().features[100:116, 0]
    assert OnnxForecaster(model_folder).forecast("S0", NOON, window) == OnnxForecaster(reigning.folder).forecast("S0", NOON, window)


def test_the_registered_flavour_loads_with_mlflow_alone_and_knows_its_shapes(store: str, model_folder: Path, tmp_path: Path) -> None:
    import mlflow.onnx
    from mlflow.models import get_model_info

    plot = tmp_path / "equity.png"
    plot.write_bytes(b"plot")
    version = registry.register(store, "shapes", model_folder, EVIDENCE, {}, identity="one", run_id=record(store, "shapes", plot))
    source = registry.client_of(store).get_model_version("shapes", version).source

    signature = get_model_info(source).signature

    assert [(1, 16, 4), (1, 2)] == [part.inputs[0].shape for part in (signature.inputs, signature.outputs)]
    assert "window" == mlflow.onnx.load_model(source).graph.input[0].name


def test_a_graph_of_another_width_than_its_card_says_is_refused(store: str, model_folder: Path, tmp_path: Path) -> None:
    """Digests alone would not see a card and a graph that never belonged together."""
    card = registry.read_card(model_folder) | {"feature_names": ["only", "two"]}
    wrong = tmp_path / "wrong"
    shutil.copytree(model_folder, wrong)
    (wrong / "model.json").unlink()
    write_model(wrong, card, {"model.onnx": onnx.load(str(model_folder / "model.onnx")).SerializeToString()})
    plot = tmp_path / "equity.png"
    plot.write_bytes(b"plot")

    with pytest.raises(BadFile, match=r"\[1, 16, 2\]"):
        registry.register(store, "wrong", wrong, EVIDENCE, {}, identity="one", run_id=record(store, "wrong", plot))
