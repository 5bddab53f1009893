"""From opening a journal to being ready for the next close, after a year: with snapshots, and without any.

A session trades a year of seeded bars into a journal on disk, as a backtest does, once at one-minute steps of one symbol and once at hourly steps of
fifteen. Then a new process stands up on it: it opens the file, verifies, folds, reads the bars it warms up on, and is ready when it asks for its first
event. Bars come from memory: over a wire they cost a page or two a symbol. Nothing is synced while the year is written, because that is not what is
measured, and the snapshots are those the settings ask for.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from configs.vocabulary import Timeframe
from desk.chain import Chain
from desk.events import BarsClosed
from desk.features.recipe import load
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View

GOAL_S = 10.0
BEGIN = datetime(2023, 1, 1, tzinfo=UTC)
WARMUP = 400  # bars before the year begins
WINDOWS = 24  # of a year: as many restarts, and a bound on what is held in memory while it is written


@dataclass(frozen=True)
class Year:
    """One shape of a year."""

    name: str
    timeframe: Timeframe
    symbols: int
    steps: int


YEARS = (Year("one symbol, 1m", Timeframe.M1, 1, 525_600), Year("15 symbols, 1h", Timeframe.H1, 15, 8_760))


class Crossing:
    """Long while the newest closes are above the older ones: an order every few bars."""

    warmup_bars = 8

    def target(self, view: View) -> float:
        """Exposure of this symbol."""
        return float(view.closes[-3:].mean() > view.closes.mean())


class Standing(Exception):
    """The session asked for its first event."""


class Stopwatch(StoredFeed):
    """Ends a session when it is ready."""

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Nothing: being asked is what was waited for."""
        raise Standing


def market(year: Year) -> pl.DataFrame:
    """Seeded random walks, so calm that a year of trading leaves the account as it was."""
    chance, frames, count = np.random.default_rng(3), [], year.steps + WARMUP
    times = pl.Series("open_time", [BEGIN + number * year.timeframe.delta for number in range(count)], dtype=pl.Datetime("us", "UTC"))
    for place in range(year.symbols):
        close = 100 * np.exp(np.cumsum(chance.normal(0, 0.0005, count)))
        opens = np.concatenate([[100.0], close[:-1]])
        numbers = {
            "open": opens,
            "high": np.maximum(opens, close) * 1.0001,
            "low": np.minimum(opens, close) * 0.9999,
            "close": close,
            "volume": 1e6 + 0 * close,
        }
        frame = pl.DataFrame(numbers)
        named = pl.lit(f"S{place:02}/USDT").alias("symbol"), pl.lit(year.timeframe.value).alias("timeframe")
        frames.append(frame.select(*named, times, *frame.columns))
    return pl.concat(frames)


def setup_of(year: Year) -> Setup:
    """A session with features and a rule."""
    symbols = [f"S{place:02}/USDT" for place in range(year.symbols)]
    grid = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.0001"), Decimal("0.001"), Decimal(5)) for symbol in symbols}
    free = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0)
    return Setup("bench", "bench", grid, Crossing(), TradingSettings(costs=free), RiskSettings(max_drawdown=1.0, max_position_weight=1.0), load("core"))


def write(year: Year, journal: Path) -> float:
    """Trade the year. Returns the seconds it took."""
    bars, setup, began = market(year), setup_of(year), time.monotonic()
    step, start = -(-year.steps // WINDOWS), BEGIN + WARMUP * year.timeframe.delta
    for window in range(WINDOWS):
        until = start + (window + 1) * step * year.timeframe.delta
        since = until - (step + 4 * WARMUP) * year.timeframe.delta
        feed = StoredFeed(bars.filter(pl.col("open_time").is_between(since, until, closed="left")), start=start)
        with Chain(journal, sync=False) as chain:
            backtest(feed, setup, chain)
    return time.monotonic() - began


def stand_up(year: Year, journal: Path, answer: Any) -> None:
    """In a process of its own: recover until ready, say how long that took and the largest memory."""
    until = BEGIN + (year.steps + WARMUP) * year.timeframe.delta
    bars = market(year).filter(pl.col("open_time") >= until - timedelta(days=90))
    feed, setup = Stopwatch(bars, start=BEGIN), setup_of(year)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        with Chain(journal, sync=True) as chain:
            backtest(feed, setup, chain)
    except Standing:
        answer.put((time.monotonic() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def recovery(year: Year, journal: Path) -> tuple[float, float]:
    """Seconds and MiB of one recovery."""
    spawn = multiprocessing.get_context("spawn")
    answer = spawn.Queue()
    process = spawn.Process(target=stand_up, args=(year, journal, answer))
    process.start()
    found: tuple[float, float] = answer.get(timeout=1800)
    process.join()
    return found


def measure(year: Year, folder: Path) -> dict[str, Any]:
    """One year's line."""
    journal = folder / f"{year.timeframe.value}.sqlite"
    wrote_s = write(year, journal)
    size = sum(path.stat().st_size for path in folder.glob(f"{journal.name}*"))
    times = [recovery(year, journal) for _ in range(3)]
    with sqlite3.connect(journal) as db:
        snapshots, kept = db.execute("SELECT count(*), sum(length(state)) FROM snapshots").fetchone()
        entries, orders = db.execute("SELECT count(*), (SELECT count(*) FROM chain WHERE kind = 'answers') FROM chain").fetchone()
        db.execute("DELETE FROM snapshots")
    db.close()
    without = recovery(year, journal)
    value = sorted(seconds for seconds, _ in times)[1]
    detail = {
        "steps": year.steps,
        "entries": entries,
        "closes_with_orders": orders,
        "without_snapshots_s": round(without[0], 3),
        "snapshots": snapshots,
        "snapshots_mib": round((kept or 0) / 2**20, 1),
        "journal_mib": round(size / 2**20, 1),
        "memory_mib": round(max(grown for _, grown in times), 1),
        "without_snapshots_memory_mib": round(without[1], 1),
        "written_in_s": round(wrote_s, 1),
    }
    return {"name": f"recovery ({year.name})", "value": round(value, 3), "unit": "s", "goal": GOAL_S, "met": value < GOAL_S, "detail": detail}


def main(share: float = 1.0) -> None:
    """Write, stand up, tell; `share` of the year for a quick look. The year of minutes takes some gigabyte of disk, given back at the end."""
    for year in YEARS:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Year(year.name, year.timeframe, year.symbols, int(year.steps * share)), Path(folder))), flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
