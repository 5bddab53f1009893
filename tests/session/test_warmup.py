"""A session that goes on warms up on as many bars as anything remembers, not on all it ever saw, and decides the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl

from desk.books.journal import Step
from desk.chain import Chain
from desk.events import BarsClosed
from desk.features.recipe import load
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest

MakeBars = Callable[..., pl.DataFrame]
BARS, CUT = 900, 800


class Asked(StoredFeed):
    """Remembers how many events of history were asked for."""

    most = 0

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        self.most = max(self.most, bars)
        return super().history(bars, until)


def both(setup: Setup, bars: pl.DataFrame, folder: Path) -> tuple[list[Step], list[Step], int]:
    """The steps after the cut of a session that ran through and of one that was started again there; events asked for then."""
    times = bars["open_time"].unique().sort()
    start, cut = times[150], times[CUT]
    through, again = list[Step](), list[Step]()
    backtest(StoredFeed(bars, start=start), setup, on_step=through.append)
    with Chain(folder / "run.sqlite", sync=False) as chain:
        backtest(StoredFeed(bars.filter(pl.col("open_time") < cut), start=start), setup, chain)
        feed = Asked(bars, start=start)
        backtest(feed, setup, chain, again.append)
    return through[-len(again) :], again, feed.most


def test_a_restart_reads_twice_what_windows_reach_back(make_setup: Callable[..., Setup], make_bars: MakeBars, tmp_path: Path) -> None:
    setup = make_setup()

    through, again, most = both(setup, make_bars(BARS), tmp_path)

    assert 100 == len(again)
    assert through == again
    assert 2 * setup.policy.warmup_bars == most


def test_features_are_the_same_to_the_bit(make_setup: Callable[..., Setup], make_bars: MakeBars, tmp_path: Path) -> None:
    """Target hashes are over the very bytes of the feature rows."""
    plain = make_setup()
    setup = Setup(plain.session_id, plain.settings_hash, plain.instruments, plain.policy, plain.trading, plain.risk, load("core"))

    through, again, most = both(setup, make_bars(BARS), tmp_path)

    assert [step.targets for step in through] == [step.targets for step in again]
    assert most < CUT


def test_a_symbol_that_is_often_silent_is_read_further_back(make_setup: Callable[..., Setup], make_bars: MakeBars, tmp_path: Path) -> None:
    """One bar in eleven of one symbol: its own window needs more events than everybody else's, and gets them."""
    setup = make_setup()
    bars = make_bars(BARS).filter((pl.col("symbol") != "SOL/USDT") | (pl.col("open_time").dt.epoch("s") // 3600 % 11 == 0))

    through, again, most = both(setup, bars, tmp_path)

    assert through == again
    assert 8 * 2 * setup.policy.warmup_bars // 2 <= most < CUT
