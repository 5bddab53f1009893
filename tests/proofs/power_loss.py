"""Claim: when the power fails, nothing that was acknowledged is lost: the journal reopens, verifies, and the session goes on as if nothing had happened.

kill -9 leaves the page cache, a power cut does not. So the cut is made at the file layer: the journal's files as they were at the last fsync, plus
whatever part of the unfinished write reached the disk: a prefix of it, some of its pages torn, reordered (a later page is there, an earlier is not) or
full of noise. A snapshot of the journal is torn like everything else. Bytes that were not being written stay as they are: SQLite's "powersafe
overwrite", which its log relies on and we with it (sqlite.org/psow.html). One cut a run, at a random entry, or while a snapshot is kept.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from _markets import market
from _proof import Size, Verdict, prove

from configs.risk import RiskSettings
from configs.trading import JournalSettings, TradingSettings
from desk.books.journal import Journal
from desk.chain import Chain, Entry, Head
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View

BARS = 40
SNAPSHOT_STEPS = 3
SNAPSHOT_SHARE = 0.3  # of the cuts fall on the writing of a snapshot
PAGE = 512  # the least a disk writes whole
SYMBOLS = ("BTC/USDT", "ETH/USDT")
BEGIN = datetime(2021, 1, 1, tzinfo=UTC)


class PowerCut(BaseException):
    """Nothing catches it."""


class Restless:
    """Turns over at every close."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        """In, out, in, ..."""
        return 0.0 if view.previous > 0 else 1.0


class Doomed(Chain):
    """Keeps its files as they were after the last acknowledged append, and loses power in the one numbered `last`, or in the first snapshot after it."""

    last = 0
    in_snapshot = False
    kept: Path

    def append(self, entries: Sequence[Entry]) -> Head:
        """Add all entries or none, until the lights go out."""
        if self.in_snapshot or self.head.count + len(entries) < self.last:
            return super().append(entries)
        keep(Path(self.path), self.kept / "before")
        super().append(entries)
        keep(Path(self.path), self.kept / "after")
        raise PowerCut

    def keep(self, at: Head, state: dict[str, Any]) -> None:
        """Keep a snapshot, until the lights go out."""
        if not self.in_snapshot or self.head.count < self.last:
            super().keep(at, state)
            return
        keep(Path(self.path), self.kept / "before")
        super().keep(at, state)
        keep(Path(self.path), self.kept / "after")
        raise PowerCut


def keep(journal: Path, folder: Path) -> None:
    """The journal's file and its log, as they are."""
    folder.mkdir(parents=True)
    for path in (journal, wal_of(journal)):
        if path.exists():
            shutil.copyfile(path, folder / path.name)


def wal_of(journal: Path) -> Path:
    """SQLite's write-ahead log."""
    return journal.with_name(journal.name + "-wal")


def tear(before: bytes, after: bytes, chance: random.Random) -> bytes:
    """What is on the disk when a write that turns `before` into `after` is cut off: each page old, new, or noise; the end anywhere."""
    length = chance.choice([len(before), len(after), chance.randint(min(len(before), len(after)), max(len(before), len(after)))])
    pages = []
    for begin in range(0, length, PAGE):
        old, new = before[begin : begin + PAGE], after[begin : begin + PAGE]
        if old == new:
            pages.append(new)
            continue
        reached = chance.choice([new, old.ljust(len(new), b"\0"), chance.randbytes(len(new)), new[: len(new) // 2] + bytes(len(new) - len(new) // 2)])
        pages.append(bytes(was if was == wanted else found for was, wanted, found in zip(old, new, reached, strict=False)) + reached[len(old) :])
    return b"".join(pages)[:length]


def setup() -> Setup:
    """One session's."""
    instruments = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.00000001"), Decimal("0.00001"), Decimal(5)) for symbol in SYMBOLS}
    # Snapshots so often that many cuts fall on one, and most restarts begin at one.
    trading = TradingSettings(journal=JournalSettings(snapshot_steps=SNAPSHOT_STEPS))
    return Setup("power", "settings", instruments, Restless(), trading, RiskSettings())


def one_cut(seed: int, folder: Path) -> str:
    """Trade, lose power, come back, trade on. What is wrong afterwards; empty when nothing is."""
    chance = random.Random(seed)
    bars = market(seed, SYMBOLS, BARS + 2).filter(pl.col("open_time") < BEGIN + timedelta(days=30))
    whole = backtest(StoredFeed(bars), setup())
    journal = folder / "journal.sqlite"
    doomed = Doomed(journal, sync=True)
    doomed.last, doomed.kept, doomed.in_snapshot = chance.randint(2, BARS), folder / "kept", chance.random() < SNAPSHOT_SHARE
    try:
        backtest(StoredFeed(bars), setup(), doomed)
        return "the lights stayed on"
    except PowerCut:
        acknowledged = doomed.head.count - (not doomed.in_snapshot)
    finally:
        doomed.close()
    cut_off(journal, folder / "kept", chance)
    with Chain(journal, sync=True) as chain:
        found = chain.verify().count
        if found < acknowledged:
            return f"{acknowledged} entries were acknowledged, {found} are left"
        backtest(StoredFeed(bars), setup(), chain)
        told = tuple(step.decision_hash for step in Journal(chain, "").steps())
    return "" if told == whole.decision_hashes else "decided otherwise afterwards"


def cut_off(journal: Path, kept: Path, chance: random.Random) -> None:
    """Put the files on the disk as a power cut leaves them. The shared memory beside them never was there."""
    journal.with_name(journal.name + "-shm").unlink(missing_ok=True)
    before, after = kept / "before", kept / "after"
    wals = [path / wal_of(journal).name for path in (before, after)]
    if (before / journal.name).read_bytes() != (after / journal.name).read_bytes():
        # A checkpoint: it writes the file only after the log is synced, so the log is whole.
        shutil.copyfile(before / journal.name, journal)
        shutil.copyfile(wals[1], wal_of(journal))
        return
    shutil.copyfile(after / journal.name, journal)
    wal_of(journal).write_bytes(tear(wals[0].read_bytes() if wals[0].exists() else b"", wals[1].read_bytes(), chance))


def power_loss(seed: int, runs: int) -> Verdict:
    """Cut the power again and again."""
    wrong = []
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="tradewind-power-") as folder:
            what = one_cut(1_000_003 * seed + number, Path(folder))
        wrong += [f"cut {number}: {what}"] if what else []
    return Verdict(runs, len(wrong), "cuts", "0 that lost anything acknowledged", not wrong, {"wrong": wrong[:20]})


if __name__ == "__main__":
    sys.exit(prove("power-loss", Size(100, 500), power_loss))
