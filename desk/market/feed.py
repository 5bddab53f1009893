"""The port through which closed bars reach a session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from desk.events import BarsClosed


class Feed(Protocol):
    """Closed bars in time order, one event per instant."""

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """At most the last `bars` events closed at or before `until` (None: before the first event of `events`): warm-up, not for trading."""

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Every event closed after `after` (None: from the feed's start), none skipped, until the feed's window ends."""
