"""A running exchange for each module, the means to kill one and start it again, and one that forgets its faults."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt
import pytest

from desk.execution.ccxt_settings import constructor_config

PATIENCE_S = 10
SYMBOL = "BTC/USDT"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Serving:
    """An exchange process, its greeting, and a client of it."""

    process: subprocess.Popen[str]
    greeting: dict[str, Any]
    client: Any

    @property
    def market(self) -> dict[str, Any]:
        return dict(self.greeting["market"])

    def config(self) -> dict[str, Any]:
        return constructor_config(*(self.greeting[name] for name in ("rest", "ws", "api_key", "secret")))

    def admin(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.greeting['admin']}{path}", data, timeout=10) as answer:
            return json.load(answer)

    def advance(self, bars: int) -> dict[str, Any]:
        return dict(self.admin("/advance", {"bars": bars}))

    def balance(self) -> dict[str, Any]:
        return dict(self.client.fetch_balance()["total"])

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Serving]]:
    """`serve("--seed", 3)` starts an exchange; all are stopped at the end."""
    started: list[Serving] = []

    def start(*arguments: object) -> Serving:
        command = [sys.executable, "-m", "desk.practice_exchange", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        greeting = json.loads(process.stdout.readline())
        config = constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret")))
        serving = Serving(process, greeting, ccxt.binance(config))
        serving.client.load_markets()
        started.append(serving)
        return serving

    yield start

    # Asked to stop all at once, so that they do so together.
    for serving in started:
        serving.process.terminate()
    for serving in started:
        serving.process.wait(PATIENCE_S)
        serving.close()


@pytest.fixture(scope="module")
def small_exchange(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 5, "--symbols", SYMBOL, "--history-bars", 20, "--stream-bars", 50, "--deposit", 10_000_000)


@pytest.fixture
def exchange(small_exchange: Serving) -> Iterator[Serving]:
    """Where faults are planned: none outlives its test. A module that needs another market has its own."""
    yield small_exchange

    request = urllib.request.Request(small_exchange.greeting["admin"] + "/faults", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


def buy(client: Any, client_id: str) -> Any:
    return client.create_order(SYMBOL, "market", "buy", "0.01", None, {"newClientOrderId": client_id})
