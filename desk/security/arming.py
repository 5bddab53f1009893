"""Arming: live orders leave the house only under a lease with an end, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime
from pathlib import Path
from types import TracebackType

from desk.errors import GateClosed


class ArmedLease:
    """Permission to send orders until `expires_at`. The kernel gives the lock back when the holder dies, however it dies."""

    def __init__(self, path: Path, expires_at: datetime) -> None:
        self.expires_at = expires_at
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise GateClosed(f"expected to be the only armed desk, found {path} held by another process: stop that one first") from error

    def __enter__(self) -> ArmedLease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def check(self, now: datetime) -> None:
        """Raise `GateClosed` when the lease was released or is over at `now` (wall time)."""
        if self._lock is None or now >= self.expires_at:
            state = "released" if self._lock is None else f"over since {self.expires_at.isoformat()}"
            raise GateClosed(f"expected an armed lease, found one {state}: arm again to trade")

    def release(self) -> None:
        """Give the permission back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
