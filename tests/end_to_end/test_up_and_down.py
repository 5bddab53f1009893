"""Real servers: what `up` starts is shared, survives its console, runs what prefect.yaml says, and is gone after `down`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from configs.operations import OperationsSettings
from tasks.automations import ZOMBIES
from tasks.services import service_environment, status
from tasks.services.processes import ask
from tasks.services.records import recorded

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("prefect", "mlflow", "worker")

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(300)]


def tradewind(operations: OperationsSettings, word: str) -> str:
    """One word to the console, from a folder that is not the repository."""
    settings = {
        "DESK__OPERATIONS__VAR": str(operations.var),
        "DESK__OPERATIONS__PREFECT_PORT": str(operations.prefect_port),
        "DESK__OPERATIONS__MLFLOW_PORT": str(operations.mlflow_port),
    }
    command = [sys.executable, "-m", "flows.cli", word]
    done = subprocess.run(command, cwd=operations.var.parent, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def pids(operations: OperationsSettings) -> list[int]:
    found = [recorded(operations, name) for name in SERVICES]
    return [service.pid for service in found if service is not None]


def api(operations: OperationsSettings, path: str, question: dict[str, Any] | None = None) -> Any:
    return ask(f"http://127.0.0.1:{operations.prefect_port}/api/{path}", {} if question is None else question)


def declared() -> set[str]:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return {f"{each['entrypoint'].rsplit(':', 1)[-1].replace('_', '-')}/{each['name']}" for each in deployments}


def test_up_serves_and_down_leaves_nothing(operations: OperationsSettings) -> None:
    """Up, up again, a deployed flow run by the worker, down."""
    said = tradewind(operations, "up")
    first = pids(operations)
    again = tradewind(operations, "up")

    assert 3 == len(first) == len({os.getsid(pid) for pid in first})
    assert first == pids(operations)
    assert said == again

    flows = {flow["id"]: flow["name"] for flow in api(operations, "flows/filter")}
    assert declared() == {f"{flows[each['flow_id']]}/{each['name']}" for each in api(operations, "deployments/filter")}
    assert 1 == sum(each["name"] == ZOMBIES for each in api(operations, "automations/filter"))
    assert "OK" == ask(f"http://127.0.0.1:{operations.mlflow_port}/health")

    # ends with 0 only when the run completed
    watch = [sys.executable, "-m", "prefect", "deployment", "run", "reconcile/every-5-minutes", "--watch"]
    watched = subprocess.run(watch, env={**os.environ, **service_environment(operations)}, capture_output=True, text=True, check=False)
    assert 0 == watched.returncode, watched.stdout
    assert api(operations, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}), "no schedule made a run"

    trees = [psutil.Process(pid) for pid in first]
    family = trees + [child for tree in trees for child in tree.children(recursive=True)]
    said = tradewind(operations, "down")

    assert ["stopped"] * 3 == [line.split()[1] for line in said.splitlines() if line.split()[0] in SERVICES]
    assert [] == [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert {"not running"} == set(status(operations).values())


CONSOLE = """
import json, os, sys
from pathlib import Path

from configs.operations import OperationsSettings
from tasks.services import ensure_prefect, service_environment, stop_started

operations = OperationsSettings(var=Path(sys.argv[1]), prefect_port=int(sys.argv[2]))
os.environ.update(service_environment(operations))
server = ensure_prefect(operations)
print(json.dumps({"pid": server.pid}), flush=True)
if sys.argv[3] == "wait":
    sys.stdin.read()

from prefect import flow, task

from desk import log
from desk.errors import ContractBroken, NetworkDown
from tasks.hooks import forward_to_run_log, on_failed
from tasks.policies import artefact_task, cache_ledger, network_retries
from tasks.services.processes import ask
from tasks.values import Check

attempts = {"flaky": 0, "refused": 0}

@artefact_task(name="check", ignore=("operations",))
def check(name: str, operations: OperationsSettings, *, folder: Path) -> Check:
    log.event("words.written", words=name)
    (folder / "words.txt").write_text(name)
    return Check(name=name, found="1", needed="1", passed=True)

@task(**network_retries())
def flaky() -> str:
    attempts["flaky"] += 1
    if attempts["flaky"] == 1:
        raise NetworkDown("no answer")
    return "answered"

@task(**network_retries())
def refused() -> None:
    attempts["refused"] += 1
    raise ContractBroken("expected bars, found none; ingest again")

@flow(name="console")
def console() -> list[str]:
    log.configure("INFO", "pretty", bridge=forward_to_run_log)
    states = [check(name, operations, return_state=True) for name in ("a", "a", "b")]
    next((operations.var / "artefacts" / "check").glob("*/words.txt")).unlink()
    states += [check(name, operations, return_state=True) for name in ("a", "b")]
    values = {repr(state.result()) for state in states}
    flaky()
    return [state.name for state in states], len(values)

@flow(name="doomed", on_failure=[on_failed])
def doomed() -> None:
    refused()

names, values = console()
state = doomed(return_state=True)
api = server.url + "/api"
print(json.dumps({
    "names": names, "values": values, "attempts": attempts, "doomed": state.name,
    "cached": [step.cached for step in cache_ledger()],
    "failures": [each["data"] for each in ask(f"{api}/artifacts/filter", {}) if each["key"] == "failure"],
    "logged": sum("words.written" in each["message"] for each in ask(f"{api}/logs/filter", {})),
}))
print(json.dumps(stop_started(operations)))
"""


def test_a_console_that_is_killed_leaves_a_server_to_the_next_one(operations: OperationsSettings, tmp_path: Path) -> None:
    """And that next one shows what a cached step, a retry and a failure look like to a real server."""
    script = tmp_path / "console.py"
    script.write_text(CONSOLE, encoding="utf-8")
    command = [sys.executable, str(script), str(operations.var), str(operations.prefect_port)]
    # the isolated environment of the tests names a Prefect home of its own: a console brings its own
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}

    with subprocess.Popen([*command, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as killed:
        assert killed.stdout is not None
        first = json.loads(killed.stdout.readline())["pid"]
        killed.kill()
    survived = status(operations)["prefect"]
    done = subprocess.run([*command, "go"], env=environment, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    greeting, told, stopped = map(json.loads, done.stdout.splitlines())
    assert f"running, process {first} http://127.0.0.1:{operations.prefect_port}" == survived
    assert first == greeting["pid"]
    assert 2 == told["names"].count("Completed") - 1 == told["names"].count("Cached")
    assert [name == "Cached" for name in told["names"]] == told["cached"]
    assert 2 == told["values"]
    assert {"flaky": 2, "refused": 1} == told["attempts"]
    assert "Failed" == told["doomed"]
    assert 1 == len(told["failures"])
    assert "expected bars, found none" in told["failures"][0]
    assert 3 == told["logged"]
    assert ["prefect"] == stopped
    assert "not running" == status(operations)["prefect"]
    assert not psutil.pid_exists(first)
