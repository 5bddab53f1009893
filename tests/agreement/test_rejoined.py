"""A live session whose stream was lost compares its book with the account before it decides again."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.vocabulary import Timeframe
from desk.books.journal import Step
from desk.chain import Chain
from desk.clock import WallClock
from desk.errors import BookMismatch
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.modes import Clearance, live, open_book
from desk.security.arming import ArmedLease
from desk.session import SessionResult
from desk.strategy.policy import View

EVENTS, CUT_AT = 20, 8


class Swing:
    """Trades at every close."""

    warmup_bars = 3

    def __init__(self) -> None:
        self.into = False

    def target(self, view: View) -> float:
        self.into = not self.into
        return 0.5 * self.into


def trade(tape: Any, folder: Path, on_step: Callable[[Step], None]) -> SessionResult:
    """A live session."""
    setup = tape.setup(Swing())
    with Chain(folder / "live.sqlite", sync=False) as chain, ArmedLease(folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        venue = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
        passed, scope = preflight(tape.client, tape.instruments), trading_scope(tape.client)
        feed = tape.feed(EVENTS)
        return live(feed, setup, venue, Clearance(passed, open_book(setup, venue, chain, feed.opened_at), lease, scope), chain, on_step=on_step)


def cut(tape: Any) -> None:
    """Every websocket of the exchange is closed."""
    question = urllib.request.Request(f"{tape.greeting['admin']}/streams/close", json.dumps({}).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(question, timeout=10).read()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("foreign", [False, True])
def test_a_stream_that_is_joined_again_has_the_book_compared_with_the_account(new_tape: Callable[[], Any], tmp_path: Path, foreign: bool) -> None:
    """Without a stranger's order the session goes on to its end; with one it stops at the next close, and names the currencies."""
    tape, steps = new_tape(), list[Step]()
    stranger = type(tape)(tape.greeting)
    stranger.client.load_markets()

    def on_step(step: Step) -> None:
        steps.append(step)
        if len(steps) == CUT_AT:
            cut(tape)
            if foreign:
                stranger.client.create_order("ETH/USDT", "market", "buy", "0.5")

    if foreign:
        with pytest.raises(BookMismatch, match="ETH: ours"):
            trade(tape, tmp_path, on_step)
    else:
        trade(tape, tmp_path, on_step)

    assert (len(steps) < EVENTS) == foreign
    assert sum(len(step.fills) for step in steps) > CUT_AT
