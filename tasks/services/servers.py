"""The Prefect server, its worker, and the MLflow server: reused when they run, started when they do not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial

from configs.operations import OperationsSettings
from tasks.services.environment import HOST, mlflow_url, prefect_url
from tasks.services.processes import ask, healthy, ready, refuse_taken_port, start, stop
from tasks.services.records import Service, record, recorded, turn

PREFECT, MLFLOW, WORKER = "prefect", "mlflow", "worker"
POOL = "desk"
RUNS_AT_ONCE = 2


def ensure_prefect(operations: OperationsSettings, *, stays: bool = False) -> Service:
    """The local Prefect server."""
    url, port = prefect_url(operations), operations.prefect_port
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
    return _ensure(operations, PREFECT, (url, command), lambda _: healthy(f"{url}/api/health"), stays=stays)


def ensure_mlflow(operations: OperationsSettings, *, stays: bool = False) -> Service:
    """The MLflow server over the store that runs write to."""
    from models.registry import initialise
    from tasks.promote import tracking_uri

    url, port, store = mlflow_url(operations), operations.mlflow_port, tracking_uri(operations)
    # Two first touches of one store at once fail: this one waits its turn, the server comes second.
    initialise(store)
    artifacts = (operations.var / "mlflow" / "artifacts").resolve().as_uri()
    options = ("--backend-store-uri", store, "--artifacts-destination", artifacts, "--host", HOST, "--port", str(port), "--workers", "1")
    return _ensure(operations, MLFLOW, (url, (sys.executable, "-m", "mlflow", "server", *options)), lambda _: healthy(f"{url}/health"), stays=stays)


def ensure_worker(operations: OperationsSettings) -> Service:
    """A process worker on the pool `desk`, which it makes when there is none; it stays until `down`."""
    name = f"local-{operations.prefect_port}"
    options = ("--pool", POOL, "--type", "process", "--name", name, "--limit", str(RUNS_AT_ONCE))
    command = (sys.executable, "-m", "prefect", "worker", "start", *options)
    return _ensure(operations, WORKER, ("", command), partial(_polls, prefect_url(operations), name), stays=True)


def _polls(url: str, name: str, worker: Service) -> bool:
    """Whether the server has heard from this worker since it was created."""
    try:
        known = ask(f"{url}/api/work_pools/{POOL}/workers/filter", {})
    except OSError:
        return False
    heard = [datetime.fromisoformat(each["last_heartbeat_time"]).timestamp() for each in known if each["name"] == name and each["last_heartbeat_time"]]
    return any(instant >= worker.created for instant in heard)


def _ensure(operations: OperationsSettings, name: str, wanted: tuple[str, tuple[str, ...]], answers: Callable[[Service], bool], *, stays: bool) -> Service:
    """Find a service by its record, or start it; `wanted` is its address and command. One that was moved to another port is stopped first."""
    url, command = wanted
    with turn(operations, name):
        service = recorded(operations, name)
        if service is None or service.command != command:
            stop(operations, name, children_first=name == WORKER)
            if url:
                refuse_taken_port(int(url.rpartition(":")[2]), name)
            service = start(operations, name, url, command)
        # One that was just started by a console that was killed is still on its way: it is waited for like our own.
        found = service
        return record(operations, ready(operations, found, lambda: answers(found)).used_here(stays=stays))
