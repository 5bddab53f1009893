"""Two processes want to trade one account: the one that was stopped in the middle and woke up again sends nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SILENCE_S = 1.0

# Takes the lease as soon as it may, then sends one order for each line it is told and says what became of it.
TRADER = """
import json, os, sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
import ccxt
from configs.vocabulary import Side, Timeframe
from desk.clock import WallClock
from desk.errors import GateClosed
from desk.events import Approved, Order
from desk.execution.ccxt_settings import constructor_config
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.order import order_id
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease

greeting, clock = json.loads(os.environ["GREETING"]), WallClock()
client = ccxt.binance(constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret"))))
instruments = ExchangeSource(client).instruments()
print("started", flush=True)
while True:
    try:
        lease = ArmedLease(Path(sys.argv[1]) / "lease", clock.now() + timedelta(minutes=5), silence_s=float(sys.argv[2]))
        break
    except GateClosed:
        clock.wait(0.05)
venue = ExchangeVenue(client, instruments, clock=clock, lease=lease, bar=Timeframe.H1.delta)
print(json.dumps({"token": lease.token, "took_over": lease.took_over}), flush=True)
for line in sys.stdin:
    now = datetime.fromtimestamp(client.fetch_time() / 1000, UTC)
    order = Order(order_id(line.strip(), "BTC/USDT", now, "buy", 1), "BTC/USDT", Side.BUY, Decimal("0.001"), now, Decimal(1))
    (answer,) = venue.submit([Approved(order)])
    print(json.dumps([answer.outcome.value, answer.detail]), flush=True)
"""


class Trader:
    """One such process."""

    def __init__(self, folder: Path, greeting: dict[str, Any]) -> None:
        environment = {**os.environ, "GREETING": json.dumps(greeting)}
        command = [sys.executable, "-c", TRADER, str(folder), str(SILENCE_S)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def sends(self, name: str) -> list[str]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        answer: list[str] = json.loads(self.says())
        return answer

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@pytest.fixture
def greeting(practice_exchange: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return practice_exchange("--seed", "29", "--symbols", "BTC/USDT", "--history-bars", "20", "--stream-bars", "5")


@pytest.fixture
def start(tmp_path: Path, greeting: dict[str, Any]) -> Any:
    """`start()` is one more trader; none is left at the end."""
    running: list[Trader] = []

    def one_more() -> Trader:
        running.append(Trader(tmp_path, greeting))
        assert "started" == running[-1].says()
        return running[-1]

    yield one_more
    for trader in running:
        trader.signal(signal.SIGCONT)
        trader.process.kill()
        trader.process.communicate()


def accepted(greeting: dict[str, Any]) -> int:
    return len(json.loads(urllib.request.urlopen(f"{greeting['admin']}/orders", timeout=10).read()))


@pytest.mark.timeout(60)
def test_a_holder_that_was_stopped_and_wakes_up_sends_nothing_more(start: Callable[[], Trader], greeting: dict[str, Any]) -> None:
    first = start()
    held = json.loads(first.says())
    assert "confirmed" == first.sends("one")[0]
    first.signal(signal.SIGSTOP)

    second = start()
    taken = json.loads(second.says())
    assert "confirmed" == second.sends("two")[0]
    first.signal(signal.SIGCONT)
    outcome, why = first.sends("three")

    assert (False, True) == (held["took_over"], taken["took_over"])
    assert held["token"] < taken["token"]
    assert "rejected" == outcome
    assert "another process took over" in why
    assert "confirmed" == second.sends("four")[0]
    assert 3 == accepted(greeting)


@pytest.mark.timeout(60)
def test_a_holder_that_was_killed_is_followed_at_once(start: Callable[[], Trader]) -> None:
    """The kernel gave the lock back: nobody waits for the silence to be over."""
    first = start()
    first.says()
    first.process.kill()
    first.process.wait()

    second = start()

    assert {"token": 2, "took_over": False} == json.loads(second.says())
