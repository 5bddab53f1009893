"""Time. The only place in the desk that reads it: everything else is handed a `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from desk.errors import ClockBackwards


class Clock(Protocol):
    """Something that knows what time it is."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""


class EventClock:
    """Market time: stands where the last event put it, and never runs backwards."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant of the last event."""
        return self._now

    def advance(self, to: datetime) -> None:
        """Move on to `to`, which must be later than where the clock stands."""
        if to <= self._now:
            raise ClockBackwards(f"expected an event after {self._now.isoformat()}, found one at {to.isoformat()}: the feed is out of order")
        self._now = to


class WallClock:
    """The machine's clock, for everything that talks over a wire: signatures, leases, watchdogs."""

    def now(self) -> datetime:
        """The machine's time, aware UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Seconds on a clock that is never set: for durations only."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Let `seconds` of wall time pass."""
        time.sleep(seconds)
