"""Kill it wherever it stands: after the restart it is the session that was never killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from desk.books.journal import Journal, Recovered, Step
from desk.books.portfolio import Portfolio
from desk.chain import Chain
from desk.events import Approved, BarsClosed, Fill
from desk.execution.simulated_venue import SimulatedVenue
from desk.execution.venue import Account, Answer
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import Parts, Session

BARS = 240

# A session on stored bars and a journal on disk; it prints a line after every step, so that the test knows when to shoot.
TRADER = """
import sys
from decimal import Decimal
import polars as pl
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from desk.chain import Chain
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest

class Crossover:
    warmup_bars = 8
    def target(self, view):
        return float(view.closes[-3:].mean() > view.closes.mean())

bars = pl.read_parquet(sys.argv[1])
grid = {s: Instrument(s, s[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for s in bars["symbol"].unique().sort()}
setup = Setup("session-1", "settings-1", grid, Crossover(), TradingSettings(), RiskSettings())
backtest(StoredFeed(bars), setup, Chain(sys.argv[2], sync=True), lambda step: print(step.closed_at, flush=True))
print("done", flush=True)
"""


class Crash(BaseException):
    """Ends the session as a power cut would: nothing catches it, nothing is tidied up."""


class Fragile:
    """A venue whose process dies before or after the n-th submission, or after the n-th look at the fills."""

    def __init__(self, venue: SimulatedVenue, where: str, countdown: int) -> None:
        self._venue = venue
        self._where = where
        self._countdown = countdown

    def _tick(self, where: str) -> None:
        if where == self._where:
            self._countdown -= 1
            if self._countdown == 0:
                raise Crash

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        self._tick("before submit")
        answers = self._venue.submit(orders)
        self._tick("after submit")
        return answers

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        fills = self._venue.fills(event)
        self._tick("after fills")
        return fills

    def resolve(self, order_id: str, symbol: str) -> Answer:
        return self._venue.resolve(order_id, symbol)

    def cancel(self, order_id: str, symbol: str) -> Answer:
        return self._venue.cancel(order_id, symbol)

    def cancel_open(self, at: datetime) -> None:
        self._venue.cancel_open(at)

    def account(self) -> Account:
        return self._venue.account()


def story(path: Path) -> tuple[Step, ...]:
    """Everything the journal says was decided and executed."""
    with Chain(path, sync=False) as chain:
        chain.verify()
        return Journal(chain, "settings-1").steps()


def run_until_crash(setup: Setup, bars: pl.DataFrame, path: Path, where: str, countdown: int) -> bool:
    """One life of a session; True when it ended by itself."""
    with Chain(path, sync=True) as chain:
        journal = Journal(chain, setup.settings_hash)
        book: Recovered | None = journal.recover(setup.instruments)
        if book is None:
            book = journal.record_opening(StoredFeed(bars).opened_at, Portfolio(setup.instruments, setup.trading.initial_cash))
        venue = Fragile(SimulatedVenue(setup.instruments, setup.trading.costs, book.portfolio.balances()), where, countdown)
        parts = Parts(setup.session_id, setup.instruments, setup.policy, venue, journal, book, setup.trading, setup.risk)
        try:
            Session(parts).run(StoredFeed(bars))
        except Crash:
            return False
    return True


@pytest.fixture
def uninterrupted(make_setup: Callable[..., Setup], make_bars: Callable[..., pl.DataFrame], tmp_path: Path) -> tuple[Step, ...]:
    """The story of the session that nobody kills."""
    with Chain(tmp_path / "whole.sqlite", sync=False) as chain:
        steps: list[Step] = []
        backtest(StoredFeed(make_bars(BARS)), make_setup(), chain, steps.append)
    assert sum(len(step.fills) for step in steps) > 40
    return story(tmp_path / "whole.sqlite")


@pytest.mark.parametrize("where", ["before submit", "after submit", "after fills"])
def test_a_crash_at_any_boundary_changes_nothing(
    make_setup: Callable[..., Setup], make_bars: Callable[..., pl.DataFrame], tmp_path: Path, uninterrupted: tuple[Step, ...], where: str
) -> None:
    """The session dies again and again at the same kind of place, at changing distances; its journal tells the uninterrupted story."""
    path, setup, bars = tmp_path / "broken.sqlite", make_setup(), make_bars(BARS)
    lives = 1

    while not run_until_crash(setup, bars, path, where, countdown=2 + lives % 7):
        lives += 1
        assert lives < 2 * BARS

    assert lives > 8
    assert uninterrupted == story(path)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_session_killed_at_random_ends_like_one_that_was_not(make_bars: Callable[..., pl.DataFrame], tmp_path: Path, uninterrupted: tuple[Step, ...]) -> None:
    """kill -9 of a real process with a real journal file, six times, at random steps: same fills, same equity, no order twice."""
    make_bars(BARS).write_parquet(tmp_path / "bars.parquet")
    path, dice = tmp_path / "killed.sqlite", random.Random(5)

    def live(steps: int) -> bool:
        """Let the trader make some steps, then shoot it; True when it finished first."""
        command = [sys.executable, "-c", TRADER, str(tmp_path / "bars.parquet"), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trader:
            assert trader.stdout is not None
            lines = [trader.stdout.readline() for _ in range(steps)]
            trader.send_signal(signal.SIGKILL)
            return "done\n" in lines

    kills = sum(not live(dice.randint(1, 25)) for _ in range(6))
    finished = live(BARS + 1)

    assert kills == 6
    assert finished
    assert uninterrupted == story(path)
    order_ids = [approved.order.order_id for step in story(path) for approved in step.approved]
    trades = [(fill.symbol, fill.trade_id) for step in story(path) for fill in step.fills]
    assert len(order_ids) == len(set(order_ids))
    assert len(trades) == len(set(trades))
