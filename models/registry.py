"""MLflow as the desk's memory: training runs, model versions, and the aliases champion, previous and challenger.

Everything is idempotent by an `identity` tag: killed anywhere and repeated, a step leaves one run and one version. The client is always given its
address: nothing here depends on the working directory or on MLflow's global state, and importing this module does not import MLflow.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.dataset import DatasetRef
from desk.errors import BadFile
from models.artefacts import read_card
from models.evidence import Evidence

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

IDENTITY = "identity"
CHAMPION, PREVIOUS = "champion", "previous"
SQLITE = "sqlite:///"
# MLflow takes at most this many params or tags in one call, and digests of at most this many characters
BATCH = 100
DIGEST_LENGTH = 36
# where things lie below a run's artifacts: MLflow's own flavour, and our folder as the desk reads it
FLAVOUR, BUNDLE, EVIDENCE = "model", "bundle", "evidence.json"


@dataclass(frozen=True, slots=True)
class Registered:
    """One registered version: its files in a local folder (checked against their card) and its evidence."""

    version: str
    run_id: str
    folder: Path
    evidence: Evidence


def initialise(tracking_uri: str) -> None:
    """Create or migrate the store. Two first touches of one SQLite file collide, so they take turns under a file lock."""
    with _turn(tracking_uri):
        client_of(tracking_uri).search_experiments(max_results=1)


def client_of(tracking_uri: str) -> MlflowClient:
    """A client of one store, with telemetry off and pickled models refused."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    if tracking_uri.startswith(SQLITE):
        Path(tracking_uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def record_training(
    tracking_uri: str,
    experiment: str,
    *,
    identity: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    datasets: Sequence[DatasetRef] = (),
    tags: Mapping[str, str] | None = None,
    artifacts: Sequence[Path] = (),
) -> str:
    """Record one training run with all that explains it; returns its run id. The run of an identity already recorded is returned as it is.

    `metrics` that are not finite are left out: MLflow's stores disagree about NaN. `artifacts` are files (plots, reports).
    """
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.time import get_current_time_millis

    client = client_of(tracking_uri)
    run_id, finished = _run_of(client, _experiment(client, tracking_uri, experiment), identity, run_name)
    if finished:
        return run_id
    now = get_current_time_millis()
    client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items() if value == value and abs(value) != float("inf")],
        tags=[RunTag(name, str(value)) for name, value in (tags or {}).items()],
    )
    # a param cannot be logged twice: what a killed attempt has logged stays
    logged = client.get_run(run_id).data.params
    named = [Param(name, str(value)) for name, value in params.items() if name not in logged]
    for first in range(0, len(named), BATCH):
        client.log_batch(run_id, params=named[first : first + BATCH])
    client.log_inputs(run_id, [_dataset_input(ref) for ref in datasets])
    for path in artifacts:
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    return run_id


def register(tracking_uri: str, name: str, folder: Path, evidence: Evidence, tags: Mapping[str, str], *, identity: str, run_id: str) -> str:
    """Register the model in `folder` under `name`, with its evidence, as an artifact of a recorded run; returns the version.

    The version is created last and carries `identity`: if it exists, everything does, and it is returned as it is.
    """
    client = client_of(tracking_uri)
    existing = _version_of(client, name, identity)
    if existing is not None:
        return existing
    card = read_card(folder)
    with tempfile.TemporaryDirectory() as temporary:
        flavour = Path(temporary) / FLAVOUR
        _save_flavour(folder, card, flavour)
        client.log_artifacts(run_id, str(flavour), FLAVOUR)
        client.log_artifacts(run_id, str(folder), BUNDLE)
        (Path(temporary) / EVIDENCE).write_text(evidence.to_json())
        client.log_artifact(run_id, str(Path(temporary) / EVIDENCE))
    source = f"{client.get_run(run_id).info.artifact_uri}/{FLAVOUR}"
    with _turn(tracking_uri):
        # another process may have registered it meanwhile
        existing = _version_of(client, name, identity)
        if existing is not None:
            return existing
        _ensure_name(client, name)
        version = client.create_model_version(name, source, run_id, tags={**tags, IDENTITY: identity}, await_creation_for=0)
    return str(version.version)


def alias(tracking_uri: str, name: str, word: str, version: str) -> None:
    """Point an alias at a version. A new champion makes the one before it `previous`; naming the reigning champion again changes nothing."""
    client = client_of(tracking_uri)
    if word == CHAMPION:
        reigning = _aliased(client, name, CHAMPION)
        if reigning is not None and str(reigning.version) == version:
            return
        if reigning is not None:
            client.set_registered_model_alias(name, PREVIOUS, reigning.version)
    client.set_registered_model_alias(name, word, version)


def champion(tracking_uri: str, name: str) -> Registered | None:
    """The champion, with its files and evidence on this machine; None when nobody reigns. BadFile when its files are not what was registered."""
    client = client_of(tracking_uri)
    reigning = _aliased(client, name, CHAMPION)
    if reigning is None:
        return None
    folder = Path(client.download_artifacts(reigning.run_id, BUNDLE))
    read_card(folder)
    evidence = Path(client.download_artifacts(reigning.run_id, EVIDENCE))
    return Registered(str(reigning.version), str(reigning.run_id), folder, Evidence.from_json(evidence.read_text()))


@contextmanager
def _turn(tracking_uri: str) -> Iterator[None]:
    """Exclusive access to a SQLite store between processes; a server serialises by itself."""
    if not tracking_uri.startswith(SQLITE):
        yield
        return
    path = Path(tracking_uri.removeprefix(SQLITE) + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _experiment(client: MlflowClient, tracking_uri: str, experiment: str) -> str:
    """Id of the experiment, created if need be; beside a SQLite store its artifacts lie in the same folder, not in the working directory."""
    with _turn(tracking_uri):
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return str(found.experiment_id)
        folder = Path(tracking_uri.removeprefix(SQLITE)).absolute().parent / "artifacts" if tracking_uri.startswith(SQLITE) else None
        return str(client.create_experiment(experiment, artifact_location=None if folder is None else str(folder)))


def _run_of(client: MlflowClient, experiment_id: str, identity: str, run_name: str) -> tuple[str, bool]:
    """Id of the run of an identity and whether it is finished; a run that a kill left unfinished is continued."""
    found = client.search_runs([experiment_id], f"tags.{IDENTITY} = '{identity}'", max_results=1)
    if found:
        return str(found[0].info.run_id), found[0].info.status == "FINISHED"
    return str(client.create_run(experiment_id, tags={IDENTITY: identity}, run_name=run_name).info.run_id), False


def _dataset_input(ref: DatasetRef) -> Any:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"table": ref.table, "version": ref.version, "content_hash": ref.content_hash})
    profile = json.dumps({"num_rows": ref.rows, "from": ref.span[0].isoformat(), "to": ref.span[1].isoformat(), "symbols": ref.symbols})
    return DatasetInput(Dataset(name=ref.table, digest=ref.content_hash[:DIGEST_LENGTH], source_type="lake", source=source, profile=profile), tags=[])


def _save_flavour(folder: Path, card: Mapping[str, Any], target: Path) -> None:
    """Write the ONNX graph in MLflow's own layout, with a signature that is checked against the graph: MLflow would accept a wrong one."""
    import mlflow.onnx
    import numpy as np
    import onnx
    import onnxruntime
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    graph = onnx.load(str(folder / "model.onnx"))
    shapes = [[axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in (graph.graph.input[0], graph.graph.output[0])]
    expected = [[1, card["lookback_bars"], len(card["feature_names"])], [1, 2]]
    if shapes != expected:
        raise BadFile(f"the exported graph must map {expected[0]} to {expected[1]}; found {shapes} in {folder}; export the model again")
    specs = [Schema([TensorSpec(np.dtype(np.float32), tuple(shape), name)]) for shape, name in zip(expected, ("window", "forecast"), strict=True)]
    requirements = [f"onnxruntime=={onnxruntime.__version__}", f"onnx=={onnx.__version__}", f"numpy=={np.__version__}"]
    mlflow.onnx.save_model(graph, str(target), signature=ModelSignature(*specs), pip_requirements=requirements, save_as_external_data=False)


def _ensure_name(client: MlflowClient, name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        client.create_registered_model(name)


def _version_of(client: MlflowClient, name: str, identity: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tag.{IDENTITY} = '{identity}'", max_results=1)
    return str(found[0].version) if found else None


def _aliased(client: MlflowClient, name: str, word: str) -> Any:
    """The version behind an alias, None when there is none. Versions from a search never carry aliases, so the model is asked."""
    found = client.search_registered_models(f"name = '{name}'", max_results=1)
    version = client.get_registered_model(name).aliases.get(word) if found else None
    return None if version is None else client.get_model_version(name, version)
