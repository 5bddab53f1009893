"""`tradewind practice-exchange`: one line of JSON, with all that an unmodified ccxt needs to trade there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ccxt
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_greeting_is_a_ccxt_config_that_trades_and_the_exchange_ends_with_its_console(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "practice-exchange", "--seed", "3", "--history-bars", "200", "--stream-bars", "20"]
    environment = {**os.environ, "DESK__OPERATIONS__VAR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as console:
        assert console.stdout is not None
        greeting = json.loads(console.stdout.readline())
        exchange = psutil.Process(console.pid).children()

        client = ccxt.binance(greeting["ccxt"])
        candles = client.fetch_ohlcv("BTC/USDT", "1h", limit=5)
        order = client.create_order("BTC/USDT", "market", "buy", 0.01)
        console.terminate()
        code = console.wait(timeout=20)

    assert {"rest", "ws", "admin", "api_key", "secret", "market", "ccxt", "ccxt_linear"} == set(greeting)
    assert 5 == len(candles)
    assert ("closed", 0.01) == (order["status"], order["filled"])
    assert 0 == code
    assert [False] == [process.is_running() for process in exchange]
