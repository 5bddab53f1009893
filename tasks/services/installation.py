"""Everything at once: `up`, `down`, what runs, and the end of a console."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from configs.operations import OperationsSettings
from desk.errors import PreflightFailed
from tasks.services.environment import prefect_url, service_environment
from tasks.services.exchange import EXCHANGE
from tasks.services.processes import ROOT, named, stop
from tasks.services.records import record, recorded, turn
from tasks.services.servers import MLFLOW, POOL, PREFECT, WORKER, ensure_mlflow, ensure_prefect, ensure_worker

DEPLOY_TIMEOUT_S = 180.0
DELIVER_TIMEOUT_S = 10.0
SAID = 600


def up(operations: OperationsSettings) -> Iterator[str]:
    """Start server, MLflow and worker, deploy prefect.yaml, ship the automation for zombie runs; says what it did, line by line."""
    os.environ.update(service_environment(operations))
    yield f"Prefect   {ensure_prefect(operations, stays=True).url}"
    yield f"MLflow    {ensure_mlflow(operations, stays=True).url}"
    yield f"worker    process {ensure_worker(operations).pid} on pool {POOL}"
    _deploy(operations)
    from tasks.automations import ship_zombie_automation

    ship_zombie_automation(f"{prefect_url(operations)}/api")
    yield "deployed  prefect.yaml, and the automation for zombie runs"
    yield "try       .venv/bin/prefect deployment run pipeline/demo --watch"


def down(operations: OperationsSettings) -> Iterator[str]:
    """Stop what is recorded here, nothing else; what a running console still uses is left to it."""
    for name in (WORKER, EXCHANGE, MLFLOW, PREFECT):
        with turn(operations, name):
            service = recorded(operations, name)
            if service is not None and (others := service.others()):
                record(operations, service.model_copy(update={"stays": False}))
                yield f"{name:<9} still used by {named(others)}, which stops it when it ends"
            else:
                yield f"{name:<9} {'stopped' if stop(operations, name, children_first=name == WORKER) else 'was not running'}"


def stop_started(operations: OperationsSettings) -> tuple[str, ...]:
    """Stop every service that this process used, unless `up` wants it to stay or somebody else still uses it; returns the names."""
    return tuple(name for name in (EXCHANGE, MLFLOW, PREFECT) if _left(operations, name))


def status(operations: OperationsSettings) -> dict[str, str]:
    """Each service in a word: its address while it runs."""
    found = {name: recorded(operations, name) for name in (PREFECT, MLFLOW, WORKER, EXCHANGE)}
    return {name: f"running, process {service.pid} {service.url}".rstrip() if service else "not running" for name, service in found.items()}


def _left(operations: OperationsSettings, name: str) -> bool:
    """Take this process off a service's users; stop the service when it was the last one."""
    with turn(operations, name):
        service = recorded(operations, name)
        if service is None or os.getpid() not in {user.pid for user in service.users}:
            return False
        if service.stays or service.others():
            record(operations, service.model_copy(update={"users": service.others()}))
            return False
        if name == PREFECT:
            _deliver()
        return stop(operations, name)


def _deliver() -> None:
    """Send what Prefect's client still holds while its server lives: at exit it would ask a dead one for more than a minute."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogHandler

        APILogHandler().flush()
        EventsWorker.drain_all(timeout=DELIVER_TIMEOUT_S)


def _deploy(operations: OperationsSettings) -> None:
    """Everything in prefect.yaml, by Prefect's own console."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = {**os.environ, **service_environment(operations)}
    asked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=DEPLOY_TIMEOUT_S)
    if asked.returncode:
        raise PreflightFailed(f"expected `prefect deploy --all` to succeed in {ROOT}, found: {(asked.stderr or asked.stdout).strip()[-SAID:]}")
