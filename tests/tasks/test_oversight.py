"""The operator's side: console words, safe mode, and orders that a turned switch keeps from a real exchange process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from configs.operations import OperationsSettings
from configs.vocabulary import Side, Timeframe, TradingState
from desk.clock import WallClock
from desk.errors import GateClosed, VenueBusy
from desk.events import Approved, Order
from desk.execution.ccxt_settings import constructor_config
from desk.execution.exchange_venue import ExchangeVenue, market_now
from desk.execution.guarded import GuardedExchange
from desk.execution.venue import Outcome
from desk.market.exchange_source import ExchangeSource
from desk.security.arming import ArmedLease
from flows.cli import main
from tasks.oversight import breaker_of, halt, overseen, resume, switch_of

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
SYMBOL = "BTC/USDT"


def fail(operations: OperationsSettings, error: Exception) -> None:
    with pytest.raises(type(error)), overseen(operations, "live-x", 0.0, lambda: NOON):
        raise error


def test_the_third_error_in_a_row_halts_within_a_second(operations: OperationsSettings) -> None:
    began = time.time()
    for _ in range(2):
        fail(operations, VenueBusy("no answer"))
    assert TradingState.ACTIVE is switch_of(operations).read().state

    fail(operations, ZeroDivisionError("a step"))

    turned = (operations.var / "risk" / "switch.json").stat().st_mtime
    assert turned - began < 1
    assert "ZeroDivisionError" in switch_of(operations).read().reason
    assert TradingState.ACTIVE is resume(operations, "mended").state


def test_a_closed_gate_is_no_error(operations: OperationsSettings) -> None:
    for _ in range(4):
        fail(operations, GateClosed("nobody armed it"))

    assert TradingState.ACTIVE is switch_of(operations).read().state


def test_data_is_stale_from_its_close_until_the_next_one(operations: OperationsSettings) -> None:
    now = NOON
    with overseen(operations, "live-x", 90.0, lambda: now) as oversight:
        told = [oversight.watch(NOON - timedelta(seconds=age), sending).stale for age, sending in ((91, False), (0, True), (90, False), (999, True))]

    assert [True, True, False, False] == told


def test_the_console_turns_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DESK__OPERATIONS__VAR", str(tmp_path))
    switch = switch_of(OperationsSettings(var=tmp_path))

    assert 0 == main(["halt", "--reduce", "--reason", "smoke"])
    assert ("smoke", TradingState.REDUCING) == (switch.read().reason, switch.read().state)
    assert 0 == main(["halt", "--reason", "fire"])
    assert 2 == main(["halt", "--reduce"])
    assert 2 == main(["resume"])
    assert TradingState.HALTED is switch.read().state
    assert 0 == main(["resume", "--reason", "all clear"])

    assert TradingState.ACTIVE is switch.read().state
    assert "halted: fire" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_turned_switch_keeps_orders_at_home_and_lets_cancellations_go(
    practice_exchange: Callable[..., dict[str, Any]], operations: OperationsSettings
) -> None:
    """A real exchange process: nothing arrives while halted, a cancellation does, and after a resume the same order goes."""
    greeting = practice_exchange("--seed", "5", "--symbols", SYMBOL, "--history-bars", "30", "--stream-bars", "10")
    client = ccxt.binance(constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret"))))
    client.load_markets()
    instruments = {SYMBOL: ExchangeSource(client).instruments()[SYMBOL]}
    reads, orders = breaker_of(operations, "venue_reads"), breaker_of(operations, "venue_orders")
    with (
        ArmedLease(operations.var / "lease", WallClock().now() + timedelta(minutes=1)) as lease,
        overseen(operations, "live-x", 0.0, lambda: NOON) as oversight,
    ):
        gates, guarded = (oversight.refusal, orders.refusal), GuardedExchange(client, reads, orders)
        venue = ExchangeVenue(guarded, instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta, gates=gates)
        order = Approved(Order("tw-switched", SYMBOL, Side.BUY, Decimal("0.01"), market_now(client), Decimal(client.fetch_ticker(SYMBOL)["last"])))
        halt(operations, "drill", reduce=False)

        kept = venue.submit([order])
        gone = venue.cancel("tw-never", SYMBOL)
        resume(operations, "drill over")
        sent = venue.submit([order])

    assert (Outcome.REJECTED, "halted: drill") == (kept[0].outcome, kept[0].detail)
    assert Outcome.CONFIRMED is gone.outcome
    assert Outcome.CONFIRMED is sent[0].outcome
