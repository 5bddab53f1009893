"""A live session with protective stops, on a real exchange process: what it holds is protected, and its book equals the account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.trading import TradingSettings
from configs.vocabulary import OrderKind, Timeframe
from desk.books.journal import Step
from desk.chain import Chain
from desk.clock import WallClock
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.modes import Clearance, live, open_book
from desk.security.arming import ArmedLease
from desk.strategy.policy import View

EVENTS = 30


class Crossover:
    """Trades often."""

    warmup_bars = 8

    def target(self, view: View) -> float:
        return float(view.closes[-3:].mean() > view.closes.mean())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_live_session_keeps_its_stops_on_the_exchange_and_its_book_through_restarts(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Two windows with a restart between them. After every step the exchange's open orders are the step's stops, each no larger than the position."""
    tape, steps = new_tape(), list[Step]()
    setup = replace(tape.setup(Crossover()), trading=TradingSettings(protective_stop=0.01))

    def looked_at(step: Step) -> None:
        steps.append(step)
        resting = {order["clientOrderId"]: order for symbol in tape.instruments for order in tape.client.fetch_open_orders(symbol)}
        assert set(resting) <= {stop.order_id for stop in step.stops}
        held = tape.client.fetch_balance()["total"]
        for order in resting.values():
            assert order["amount"] <= held[order["symbol"].partition("/")[0]]

    for _ in range(2):
        with Chain(tmp_path / "live.sqlite", sync=True) as chain, ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
            venue = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
            proofs = preflight(tape.client, tape.instruments), trading_scope(tape.client)
            book = open_book(setup, venue, chain, tape.feed(1).opened_at)
            live(tape.feed(EVENTS // 2), setup, venue, Clearance(proofs[0], book, lease, proofs[1]), chain, on_step=looked_at)

    stops = {stop.order_id for step in steps for stop in step.stops}
    assert EVENTS == len(steps)
    assert any(fill.order_id in stops for step in steps for fill in step.fills)
    assert any(approved.order.kind is OrderKind.MARKET for step in steps for approved in step.approved)
