"""A trader's own rule, under twenty lines, runs unchanged as a backtest, on paper and live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from configs.vocabulary import Timeframe
from desk.chain import Chain
from desk.clock import WallClock
from desk.errors import GateClosed, PreflightFailed
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.market.stored_feed import StoredFeed
from desk.modes import Clearance, backtest, live, open_book, paper
from desk.security.arming import ArmedLease
from desk.strategy.policy import View

EVENTS = 40


class Crossover:
    """Long while the average of the last 5 closes is above that of the last 20."""

    warmup_bars = 20

    def target(self, view: View) -> float:
        return 1.0 if view.closes[-5:].mean() > view.closes.mean() else 0.0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_same_rule_decides_the_same_in_every_mode(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Paper and live each have an exchange of their own on the same tape. Prices of execution differ, decisions do not."""
    paper_tape, live_tape = new_tape(), new_tape()
    setup = paper_tape.setup(Crossover())
    opened = paper_tape.feed(1).opened_at

    with Chain(tmp_path / "paper.sqlite", sync=True) as chain:
        on_paper = paper(paper_tape.feed(EVENTS), setup, chain)
    replayed = backtest(StoredFeed(paper_tape.bars(), start=opened), setup)
    with Chain(tmp_path / "live.sqlite", sync=True) as chain, ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        clearance, venue = cleared(live_tape, chain, lease)
        traded = live(live_tape.feed(EVENTS), live_tape.setup(Crossover()), venue, clearance, chain)

    assert on_paper == replayed
    assert on_paper.target_hashes == traded.target_hashes
    assert len(traded.fills) > 4
    assert {fill.symbol for fill in traded.fills} == {fill.symbol for fill in on_paper.fills}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_live_session_goes_on_where_it_ended(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Two windows with a restart between them: every order is accounted for, and the book equals the account each time."""
    tape = new_tape()
    fills = []

    for _ in range(2):
        with Chain(tmp_path / "live.sqlite", sync=True) as chain, ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
            clearance, venue = cleared(tape, chain, lease)
            fills += live(tape.feed(EVENTS // 2), tape.setup(Crossover()), venue, clearance, chain).fills
    with Chain(tmp_path / "live.sqlite", sync=True) as chain, ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        book = cleared(tape, chain, lease)[0].book

    assert book.recovered.steps == EVENTS
    assert len({fill.trade_id for fill in fills}) == len(fills)
    assert sum(book.recovered.portfolio.positions.values(), Decimal(0)) > 0


@pytest.mark.slow
def test_history_never_reaches_an_exchange_and_nothing_trades_unarmed(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    tape = new_tape()
    setup = tape.setup(Crossover())

    with Chain(tmp_path / "live.sqlite", sync=True) as chain:
        lease = ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5))
        clearance, venue = cleared(tape, chain, lease)
        with pytest.raises(PreflightFailed, match="history must never reach"):
            live(StoredFeed(tape.bars()), setup, venue, clearance, chain)  # type: ignore[arg-type]
        lease.release()
        with pytest.raises(GateClosed, match="armed lease"):
            live(tape.feed(2), setup, venue, clearance, chain)


def cleared(tape: Any, chain: Chain, lease: ArmedLease) -> tuple[Clearance, ExchangeVenue]:
    """Every proof that live trading asks for, made by asking the exchange."""
    setup = tape.setup(Crossover())
    passed, scope = preflight(tape.client, tape.instruments), trading_scope(tape.client)
    venue = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
    book = open_book(setup, venue, chain, tape.feed(1).opened_at)
    return Clearance(passed, book, lease, scope), venue
