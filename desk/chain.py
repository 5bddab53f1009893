"""An append-only store in which every row carries the hash of the row before it.

One SQLite file in WAL mode, one writer at a time. It serves the session journal and the trial ledger. It knows nothing of what it
keeps: payloads are plain JSON values, times come from the caller.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from desk.errors import JournalBroken, JournalStalled

SCHEMA_VERSION = 1
GENESIS = "0" * 64
MEMORY = ":memory:"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS chain (
    sequence INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS snapshots (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, state TEXT NOT NULL, digest TEXT NOT NULL);
"""
# What a writer killed while it made its tables leaves behind: a file in which nothing was ever written.
_UNFINISHED = frozenset({"schema_version"})
_PRIMARY_CODE = 0xFF  # of SQLite's result codes; what is above says more


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to remember: when it was (aware UTC), what kind it is, and its JSON-able content."""

    at: datetime
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as the chain keeps it. Sequences count from 1."""

    sequence: int
    at: datetime
    kind: str
    payload: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many entries, and the hash of the last one. Kept elsewhere, it shows a tail cut off."""

    count: int
    hash: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What somebody made of the chain up to entry `sequence`, so that nobody has to make it again. No part of the chain: losing it costs time only."""

    sequence: int
    state: dict[str, Any]


def canonical(value: object) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(sequence: int, at: str, kind: str, payload: str, previous: str) -> str:
    return hashlib.sha256(f"{previous}\n{sequence}\n{at}\n{kind}\n{payload}".encode()).hexdigest()


def _digest(sequence: int, link: str, state: str) -> str:
    return hashlib.sha256(f"snapshot\n{sequence}\n{link}\n{state}".encode()).hexdigest()


class Chain:
    """The store. With `sync` an append is on the disk when it returns (paper, live); without, a crash of the machine may cost the last ones."""

    def __init__(self, path: Path | str, *, sync: bool, reader: bool = False, takeover: bool = False) -> None:
        """`takeover`: write although another process still has the lock, because it is silent; should it wake up, its next append fails."""
        self.path = path
        self._reader = reader
        self._lock = None if reader or takeover or path == MEMORY else _take_lock(Path(path))
        try:
            self._db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro" if reader else path, isolation_level=None, uri=reader)
        except sqlite3.Error as error:
            self._unlock()
            raise JournalBroken(f"expected a chain in {path}, found {error}: restore a backup or name another file") from error
        self._tables: frozenset[str] = frozenset()
        try:
            if not reader:
                self._prepare(sync)
            self._tables = self._found_tables()
            self._head = self._last()
        except BaseException:
            self.close()
            raise

    @classmethod
    def reading(cls, path: Path) -> Chain:
        """A chain that can be read and verified beside its writer; appending to it fails. One whose writer died before its table was there is empty."""
        return cls(path, sync=False, reader=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def head(self) -> Head:
        """Count and hash of the last entry."""
        return self._head

    def append(self, entries: Sequence[Entry]) -> Head:
        """Add all entries or none. Returns the new head."""
        rows = []
        previous, sequence = self._head.hash, self._head.count
        for entry in entries:
            sequence += 1
            at, payload = entry.at.isoformat(), canonical(entry.payload)
            digest = _hash(sequence, at, entry.kind, payload, previous)
            rows.append((sequence, at, entry.kind, payload, previous, digest))
            previous = digest
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if self._last() != self._head:
                self._db.execute("ROLLBACK")
                raise JournalBroken(f"expected entry {self._head.count} to be the last of {self.path}, found another writer's after it: end this process")
            self._db.executemany("INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            full = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
            kind = JournalStalled if full else JournalBroken
            raise kind(f"expected to append {len(rows)} entries to {self.path}, found {error}: stop, then check disk and permissions") from error
        self._head = Head(sequence, previous)
        return self._head

    def entries(self, after: int = 0, kind: str | None = None) -> Iterator[Link]:
        """Every entry with a sequence above `after`, oldest first, of one kind or of all."""
        query = "SELECT sequence, at, kind, payload, hash FROM chain WHERE sequence > ? AND (? IS NULL OR kind = ?) ORDER BY sequence"
        if "chain" not in self._tables:
            return
        for sequence, at, name, payload, digest in self._db.execute(query, (after, kind, kind)):
            yield Link(sequence, datetime.fromisoformat(at), name, json.loads(payload), digest)

    def verify(self, after: int = 0) -> Head:
        """Recompute every hash, or those of the entries from number `after` on. Returns the head, or raises `JournalBroken` naming the first entry
        that does not fit.
        """
        if "chain" not in self._tables:
            return self._head
        expected, previous = max(after - 1, 0), self._hash_of(after - 1)
        for sequence, at, kind, payload, before, digest in self._db.execute("SELECT * FROM chain WHERE sequence > ? ORDER BY sequence", (expected,)):
            expected += 1
            if sequence != expected or before != previous or digest != _hash(sequence, at, kind, payload, previous):
                raise JournalBroken(f"expected entry {expected} to follow from the one before it, found a broken link in {self.path}: restore a backup")
            previous = digest
        return Head(expected, previous)

    @property
    def keeps_snapshots(self) -> bool:
        """Whether a snapshot kept here is there for the next one who opens it."""
        return not self._reader and self.path != MEMORY

    def keep(self, at: Head, state: dict[str, Any]) -> None:
        """Keep a snapshot of what the chain up to `at` leads to."""
        text = canonical(state)
        try:
            self._db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", (at.count, at.hash, text, _digest(at.count, at.hash, text)))
        except sqlite3.Error as error:
            raise JournalStalled(f"expected to keep a snapshot in {self.path}, found {error}: stop, then check disk and permissions") from error

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Every snapshot, oldest first. `JournalBroken` names one that does not belong to this chain, or is not what was kept."""
        if "snapshots" not in self._tables:
            return ()
        found = []
        rows = "SELECT s.sequence, s.hash, s.state, s.digest, c.hash FROM snapshots s LEFT JOIN chain c USING (sequence) ORDER BY s.sequence"
        for sequence, link, state, digest, hash_there in self._db.execute(rows):
            if link != hash_there or digest != _digest(sequence, link, state):
                raise JournalBroken(f"expected snapshot {sequence} of {self.path} to match entry {sequence}, found another: the whole chain is read instead")
            found.append(Snapshot(sequence, json.loads(state)))
        return tuple(found)

    def newest_snapshot(self) -> int:
        """The entry that the newest snapshot stands at; 0: there is none."""
        return int(self._db.execute("SELECT coalesce(max(sequence), 0) FROM snapshots").fetchone()[0])

    def forget_snapshots(self) -> None:
        """Keep none of them."""
        self._db.execute("DELETE FROM snapshots")

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self, sync: bool) -> None:
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            self._db.executescript(_SCHEMA)
            row = self._db.execute("SELECT version FROM schema_version").fetchone()
        except sqlite3.Error as error:
            raise JournalBroken(f"expected a chain in {self.path}, found {error}: restore a backup or name another file") from error
        if row is None:
            self._db.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
        elif row[0] != SCHEMA_VERSION:
            raise JournalBroken(f"expected schema version {SCHEMA_VERSION} in {self.path}, found {row[0]}: use the release that wrote it")

    def _found_tables(self) -> frozenset[str]:
        """Tables that are there. A file with none is a chain that was never begun; one with others is no chain."""
        try:
            found = frozenset(str(name) for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        except sqlite3.Error as error:
            raise JournalBroken(f"expected a chain in {self.path}, found {error}: restore a backup or name another file") from error
        if "chain" not in found and not found <= _UNFINISHED:
            raise JournalBroken(f"expected a chain in {self.path}, found tables {', '.join(sorted(found))}: name another file")
        return found

    def _hash_of(self, sequence: int) -> str:
        row = self._db.execute("SELECT hash FROM chain WHERE sequence = ?", (sequence,)).fetchone()
        return GENESIS if row is None else str(row[0])

    def _last(self) -> Head:
        if "chain" not in self._tables:
            return Head(0, GENESIS)
        row = self._db.execute("SELECT sequence, hash FROM chain ORDER BY sequence DESC LIMIT 1").fetchone()
        return Head(0, GENESIS) if row is None else Head(int(row[0]), str(row[1]))


def _take_lock(path: Path) -> int:
    """Lock a side file for as long as this process lives: the kernel releases it even after kill -9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise JournalBroken(f"expected to be the only writer of {path}, found another process writing it: stop that one first") from error
    return handle
