"""The deployment `panic/now`, carried out by a real worker: the way of an operator who has Prefect's page and no console."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from tasks.market import open_market
from tasks.oversight import switch_of
from tasks.services import ensure_prefect, service_environment
from tasks.services.servers import ensure_worker
from tasks.standing import lease_of
from tests.drills.traders import MARKET, ROOT, booked, each_once, executed, held, still_open, traders


@pytest.fixture
def prefect(operations: OperationsSettings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Prefect's console, in front of a server, a worker and this one deployment."""
    wanted = {"OPERATIONS__VAR": str(operations.var), "OPERATIONS__PREFECT_PORT": str(operations.prefect_port), "MARKET__VENUE": "practice"}
    for name, value in {**{f"DESK__{name}": value for name, value in wanted.items()}, **service_environment(operations)}.items():
        monkeypatch.setenv(name, value)
    ensure_prefect(operations, stays=True)
    ensure_worker(operations)
    console = [sys.executable, "-m", "prefect"]
    subprocess.run([*console, "--no-prompt", "deploy", "--name", "panic/now"], cwd=ROOT, capture_output=True, check=True)
    return console


def test_the_panic_deployment_closes_the_account_of_a_dead_trader(operations: OperationsSettings, prefect: list[str]) -> None:
    market = open_market.fn(MARKET, operations, ())
    with traders(operations, market) as start:
        trader = start(6)
        trader.send_signal(signal.SIGKILL)
        trader.communicate()
    left = len(held(operations, market)), bool(still_open(operations)), lease_of(operations).state

    # ends with 0 only when the run completed
    words = json.dumps("nobody answers the telephone")
    run = subprocess.run([*prefect, "deployment", "run", "panic/now", "--param", f"reason={words}", "--watch"], capture_output=True, text=True, check=False)

    assert (2, True, "dead") == left
    assert 0 == run.returncode, run.stdout + run.stderr
    assert ({}, []) == (held(operations, market), still_open(operations))
    assert each_once(operations)
    assert executed(operations) == booked(operations, market)
    told = switch_of(operations).read()
    assert (TradingState.HALTED, "flattened: nobody answers the telephone") == (told.state, told.reason)
