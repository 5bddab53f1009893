"""A live session that dies around an order comes back knowing what became of it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.vocabulary import Timeframe
from desk.chain import Chain
from desk.clock import WallClock
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.modes import Clearance, live, open_book
from desk.security.arming import ArmedLease
from desk.session import SessionResult
from desk.strategy.policy import View

EVENTS = 30


class Crash(BaseException):
    """A power cut: nothing catches it."""


class Fragile:
    """A ccxt client whose process dies before or after the third order reaches the exchange."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self._where = where
        self._orders = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_order(self, *arguments: Any) -> Any:
        self._orders += 1
        if self._orders == 3 and self._where == "before":
            raise Crash
        reply = self._client.create_order(*arguments)
        if self._orders == 3:
            raise Crash
        return reply


class Crossover:
    """Trades often."""

    warmup_bars = 8

    def target(self, view: View) -> float:
        return float(view.closes[-3:].mean() > view.closes.mean())


def trade(tape: Any, client: Any, folder: Path, events: int) -> SessionResult:
    """One life of a live session."""
    setup = tape.setup(Crossover())
    with Chain(folder / "live.sqlite", sync=True) as chain, ArmedLease(folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        venue = ExchangeVenue(client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
        passed, scope = preflight(client, tape.instruments), trading_scope(client)
        book = open_book(setup, venue, chain, tape.feed(1).opened_at)
        return live(tape.feed(events), setup, venue, Clearance(passed, book, lease, scope), chain)


def accepted(tape: Any) -> list[tuple[str, str, str]]:
    """Every order the exchange ever accepted: our id, symbol, quantity."""
    orders = json.loads(urllib.request.urlopen(f"{tape.greeting['admin']}/orders", timeout=10).read())
    return [(order["clientOrderId"], order["symbol"], order["origQty"]) for order in orders]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_crash_around_an_order_leaves_the_orders_of_a_session_that_did_not_crash(new_tape: Callable[[], Any], tmp_path: Path, where: str) -> None:
    """Same tape, same rule: the exchange has accepted the same orders, each once, and our book equals the account."""
    whole, broken = new_tape(), new_tape()
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    trade(whole, whole.client, tmp_path / "whole", EVENTS)

    with suppress(Crash):
        trade(broken, Fragile(broken.client, where), tmp_path / "broken", EVENTS)
        pytest.fail("the session did not crash")
    while broken.source.closed_until(Timeframe.H1) < whole.source.closed_until(Timeframe.H1):
        left = (whole.source.closed_until(Timeframe.H1) - broken.source.closed_until(Timeframe.H1)) // Timeframe.H1.delta
        trade(broken, broken.client, tmp_path / "broken", left)

    assert len(accepted(whole)) > 5
    assert accepted(whole) == accepted(broken)
