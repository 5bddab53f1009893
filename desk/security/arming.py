"""Arming: live orders leave the house only under a lease with an end, held by one process at a time.

The holder of the lease has a lock, which the kernel gives back when it dies, however it dies, and the newest token, under which it says every so
often that it is there. A process that is stopped and not dead keeps its lock and falls silent: another may then take over under the next token, and
when the first one wakes up, its token is old and its orders are refused. Tokens that only grow are called fencing tokens (Kleppmann, Designing
Data-Intensive Applications, 2017, chapter 8).

Where no token can be written, because the disk is full, the lock alone can do: whoever has it knows that the last holder of a lock is gone. A holder
by the lock says nothing; others may take it for silent and follow it under the next token, which ends its permission as any newer token does.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from desk.clock import WallClock
from desk.errors import GateClosed

# A holder that was not heard for so long may be replaced. Longer than a request of its may live at an exchange: one signed before it fell silent is
# refused there by its age.
SILENCE_S = 30.0
BEATS_PER_SILENCE = 6

_SCHEMA = "CREATE TABLE IF NOT EXISTS lease (one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL, heard REAL NOT NULL, locked INTEGER NOT NULL)"


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A lease as anybody may see it: its newest token, and the seconds since its holder was heard (None: it was given back)."""

    token: int
    silent_s: float | None


class ArmedLease:
    """Permission to send orders until `expires_at`, while nobody took it over. `took_over` says that its last holder is silent and not proven dead.

    `lock_may_do`: the permission is also given by the lock alone, where nothing can be written; for whoever only closes. `unwritten` says that it was.
    """

    def __init__(self, path: Path, expires_at: datetime, *, silence_s: float = SILENCE_S, lock_may_do: bool = False) -> None:
        self.expires_at = expires_at
        self._store, self._silence_s, self._clock = path.with_name(path.name + ".sqlite"), silence_s, WallClock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock, self._lock_may_do, self.unwritten = _locked(path), lock_may_do, False
        self._db: sqlite3.Connection | None = _open(self._store)
        try:
            self.token = self._take(path)
        except BaseException:
            self.release()
            raise
        self.took_over = self._lock is None
        self._ended = threading.Event()
        if self.unwritten:
            return
        threading.Thread(target=self._keep_saying, name="lease", daemon=True).start()

    def __enter__(self) -> ArmedLease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def check(self, now: datetime) -> None:
        """Raise `GateClosed` when the lease was released, is over at `now` (wall time), or was taken over."""
        if self._db is None or now >= self.expires_at:
            state = "released" if self._db is None else f"over since {self.expires_at.isoformat()}"
            raise GateClosed(f"expected an armed lease, found one {state}: arm again to trade")
        newest = _newest(self._db) == self.token if self.unwritten else _say(self._db, self.token, self._clock.seconds())
        if not newest:
            raise GateClosed(f"expected token {self.token} to be the newest, found that another process took over while this one was silent: let it end")

    def release(self) -> None:
        """Give the permission back."""
        if self._db is not None:
            if hasattr(self, "token") and not self.unwritten:
                self._ended.set()
                _say(self._db, self.token, -self._silence_s)
            self._db.close()
            self._db = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self, path: Path) -> int:
        """The next token; refused while the holder of the last one lives and is heard."""
        assert self._db is not None
        self._db.execute("BEGIN IMMEDIATE")
        found = self._db.execute("SELECT token, heard, locked FROM lease").fetchone()
        token, heard, locked = found or (0, -self._silence_s, 1)
        silent = self._clock.seconds() - heard >= self._silence_s
        # A holder with a lock that is free again has died; one without a lock is only known by what it says.
        held = not silent and not (locked and self._lock is not None)
        if held or (found is None and self._lock is None):
            self._db.execute("ROLLBACK")
            raise GateClosed(f"expected to be the only armed desk, found {path} held by another process: stop that one first")
        try:
            self._db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?)", (token + 1, self._clock.seconds(), self._lock is not None))
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # The last holder was one with a lock, which is free, or it has given the lease back: nobody else may send.
            self.unwritten = self._lock_may_do and self._lock is not None and bool(locked or heard < 0)
            if not self.unwritten:
                raise GateClosed(f"expected to write a token to {self._store}, found {error}: free space on that disk") from error
            return int(token)
        return int(token) + 1

    def _keep_saying(self) -> None:
        """Say that we are here until the lease ends or is somebody else's."""
        db = _open(self._store)
        while not self._ended.wait(self._silence_s / BEATS_PER_SILENCE):
            if not _say(db, self.token, self._clock.seconds()):
                break
        db.close()


def lease_seen(path: Path) -> LeaseSeen | None:
    """Look at a lease without touching it; None when nobody ever held it."""
    store = path.with_name(path.name + ".sqlite")
    if not store.exists():
        return None
    db = sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", isolation_level=None, timeout=10.0, uri=True)
    try:
        found = db.execute("SELECT token, heard FROM lease").fetchone()
    except sqlite3.OperationalError:
        found = None  # its holder died between making the file and making the table
    finally:
        db.close()
    if found is None:
        return None
    token, heard = found
    return LeaseSeen(int(token), None if heard < 0 else max(WallClock().seconds() - heard, 0.0))


def _say(db: sqlite3.Connection, token: int, at_s: float) -> bool:
    """Note when the holder of this token was heard; False when the token is no longer the newest."""
    return db.execute("UPDATE lease SET heard = ? WHERE token = ?", (at_s, token)).rowcount == 1


def _newest(db: sqlite3.Connection) -> int:
    """The newest token."""
    found = db.execute("SELECT token FROM lease").fetchone()
    return int(found[0]) if found else 0


def _open(path: Path) -> sqlite3.Connection:
    # Who holds the lease does not matter after a power cut: nothing here needs the disk.
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
    db.execute("PRAGMA synchronous = OFF")
    db.execute(_SCHEMA)
    return db


def _locked(path: Path) -> int | None:
    """The lock, or None while another process has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
