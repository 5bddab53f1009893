"""What survives kill -9, and what is refused at the start with one clear line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path

import ccxt
import polars as pl
import pytest

from tests.practice_exchange.conftest import ROOT, Serving

SYMBOL = "BTC/USDT"
OPTIONS = ("--seed", 5, "--symbols", SYMBOL, "--history-bars", 40, "--stream-bars", 40)


@pytest.fixture(scope="module")
def running(serve: Callable[..., Serving]) -> Serving:
    return serve(*OPTIONS)


def start_and_fail(*arguments: object) -> str:
    """What the exchange says when it refuses to start."""
    command = [sys.executable, "-m", "desk.practice_exchange", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20)
    assert (2, "") == (ended.returncode, ended.stdout)
    return ended.stderr


def test_clock_orders_balances_and_keys_survive_kill_9(serve: Callable[..., Serving], tmp_path: Path) -> None:
    first = serve(*OPTIONS, "--state", tmp_path)
    first.advance(3)
    first.client.create_order(SYMBOL, "market", "buy", "0.5", None, {"newClientOrderId": "filled"})
    first.client.create_order(SYMBOL, "limit", "buy", "0.5", 100, {"newClientOrderId": "resting"})
    now, orders, balance = first.admin("/market")["now"], first.admin("/orders"), first.client.fetch_balance()
    first.kill()

    second = serve(*OPTIONS, "--state", tmp_path)

    assert now == second.market["now"]
    assert first.market["history_until"] == second.market["history_until"]
    assert orders == second.admin("/orders")
    assert (balance["total"], balance["used"]) == (second.client.fetch_balance()["total"], second.client.fetch_balance()["used"])
    assert (first.greeting["api_key"], first.greeting["secret"]) == (second.greeting["api_key"], second.greeting["secret"])
    assert ["resting"] == [order["clientOrderId"] for order in second.client.fetch_open_orders(SYMBOL)]
    assert "canceled" == second.client.cancel_order("", SYMBOL, {"origClientOrderId": "resting"})["status"]


def test_a_kill_in_the_midst_of_trading_leaves_whole_transactions(serve: Callable[..., Serving], tmp_path: Path) -> None:
    """Whatever was answered is there, and every balance is what the executions make of the deposit."""
    options = (*OPTIONS[:-1], 400, "--state", tmp_path)
    answered: list[str] = []
    for _ in range(3):
        exchange = serve(*options)
        timer = threading.Timer(0.15, exchange.process.kill)
        timer.start()
        with suppress(ccxt.NetworkError, OSError, HTTPException):
            while True:
                answered.append(exchange.client.create_order(SYMBOL, "market", "buy", "0.01")["id"])
                exchange.advance(1)
        timer.join()
        exchange.process.wait()

    survivor = serve(*options)

    orders = survivor.admin("/orders")
    fills = [fill for order in orders for fill in order["fills"]]
    balance = survivor.client.fetch_balance()["total"]
    assert len(answered) > 3
    assert set(answered) <= {str(order["orderId"]) for order in orders}
    assert Decimal(100_000) - sum(Decimal(fill["quoteQty"]) for fill in fills) == Decimal(str(balance["USDT"]))
    assert sum(Decimal(fill["qty"]) - Decimal(fill["commission"]) for fill in fills) == Decimal(str(balance["BTC"]))
    assert survivor.client.fetch_time() % 3_600_000 == 0


def test_what_was_taken_of_a_bar_stays_taken_after_a_restart(serve: Callable[..., Serving], tmp_path: Path) -> None:
    options = (*OPTIONS, "--state", tmp_path, "--deposit", 100_000_000)
    first = serve(*options)
    assert 0 < first.client.create_order(SYMBOL, "market", "buy", "100")["filled"] < 100
    first.kill()

    again = serve(*options).client.create_order(SYMBOL, "market", "buy", "1")

    assert 0 == again["filled"]


def test_the_secret_is_readable_by_its_owner_only(serve: Callable[..., Serving], tmp_path: Path) -> None:
    serve(*OPTIONS, "--state", tmp_path)

    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}


def test_shutdown_ends_the_process_cleanly(serve: Callable[..., Serving]) -> None:
    exchange = serve(*OPTIONS)

    assert {"status": "ok"} == exchange.admin("/healthz")
    exchange.admin("/shutdown", {})

    assert 0 == exchange.process.wait(timeout=10)


@pytest.mark.parametrize("body", [{"bars": -1}, {"bars": "many"}, {"bars": True}, [], {}])
def test_an_advance_that_makes_no_sense_is_refused(running: Serving, body: object) -> None:
    with pytest.raises(OSError, match="400"):
        running.admin("/advance", body)

    assert running.market["history_until"] == running.admin("/market")["now"]


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        said = start_and_fail(*OPTIONS, "--port", taken.getsockname()[1])

    assert "in use" in said
    assert 1 == said.count("\n")


def test_a_folder_in_use_is_said_in_one_line(serve: Callable[..., Serving], tmp_path: Path) -> None:
    serve(*OPTIONS, "--state", tmp_path)

    said = start_and_fail(*OPTIONS, "--state", tmp_path)

    assert "another exchange" in said
    assert 1 == said.count("\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "found nothing at"),
        (b"not parquet", "found something else at"),
        (pl.DataFrame({"symbol": ["BTC/USDT"], "close": [1.0]}), "rename or add timeframe"),
    ],
)
def test_candles_that_do_not_fit_are_said_in_one_line(tmp_path: Path, content: object, complaint: str) -> None:
    path = tmp_path / "candles.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, pl.DataFrame):
        content.write_parquet(path)

    said = start_and_fail("--candles", path)

    assert complaint in said
    assert 1 == said.count("\n")


def test_the_greeting_is_one_json_line(running: Serving) -> None:
    greeting = running.greeting

    assert {"rest", "ws", "admin", "api_key", "secret", "market"} == set(greeting)
    assert {"hash", "symbols", "timeframe", "history_until", "ends_at", "now", "synthetic", "seed"} == set(greeting["market"])
    assert all(greeting[name].split("//")[1].startswith("127.0.0.1:") for name in ("rest", "ws", "admin"))
    assert json.dumps(greeting)


def test_without_state_yesterdays_keys_are_a_strangers(running: Serving, serve: Callable[..., Serving]) -> None:
    today = serve(*OPTIONS)
    config = {**today.config(), "apiKey": running.greeting["api_key"], "secret": running.greeting["secret"]}

    with pytest.raises(ccxt.AuthenticationError):
        ccxt.binance(config).private_get_account()
