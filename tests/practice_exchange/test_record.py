"""The recorder against our own exchange: what it writes, what it compares, and whom it refuses to ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.practice_exchange.conftest import ROOT, Serving


@pytest.fixture(scope="module")
def recording(serve: Callable[..., Serving], tmp_path_factory: pytest.TempPathFactory) -> tuple[Serving, Path]:
    serving = serve("--seed", 5, "--symbols", "BTC/USDT", "--history-bars", 100)
    file = tmp_path_factory.mktemp("recording") / "session.jsonl"
    record(serving, "--out", str(file))
    return serving, file


def record(serving: Serving, *arguments: str) -> subprocess.CompletedProcess[str]:
    keys = {"RECORD_API_KEY": serving.greeting["api_key"], "RECORD_SECRET": serving.greeting["secret"]}
    return asked("--rest", serving.greeting["rest"], *arguments, **keys)


def asked(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "desk.practice_exchange.record", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, timeout=20, check=False)


def test_a_session_is_written_as_shapes_without_values(recording: tuple[Serving, Path]) -> None:
    lines = [json.loads(line) for line in recording[1].read_text().splitlines()]

    requests = {line["request"]: line for line in lines}
    assert {"GET /api/v3/klines", "GET /api/v3/account", "POST /api/v3/order", "DELETE /api/v3/order", "GET /api/v3/klines#symbol"} <= set(requests)
    assert {"code": "number", "msg": "text"} == requests["GET /api/v3/klines#symbol"]["shape"]
    assert {200} == {line["status"] for line in lines if "#" not in line["request"]}
    assert recording[0].greeting["api_key"] not in recording[1].read_text()


def test_an_exchange_agrees_with_its_own_recording(recording: tuple[Serving, Path]) -> None:
    done = record(recording[0], "--against", str(recording[1]))

    assert (0, "") == (done.returncode, done.stdout)


def test_what_an_exchange_lacks_of_a_recording_is_printed(recording: tuple[Serving, Path], tmp_path: Path) -> None:
    lines = [json.loads(line) for line in recording[1].read_text().splitlines()]
    time = next(line for line in lines if line["request"] == "GET /api/v3/time")
    time["shape"] = {"serverTime": "text", "zone": "text"}
    richer = tmp_path / "richer.jsonl"
    richer.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = record(recording[0], "--against", str(richer))

    assert 1 == done.returncode
    assert ["GET /api/v3/time .zone: missing", "GET /api/v3/time .serverTime: text expected, number found"] == done.stdout.splitlines()


def test_an_exchange_with_real_money_is_never_asked() -> None:
    done = asked("--rest", "https://api.binance.com")

    assert 2 == done.returncode
    assert "without real money" in done.stderr
