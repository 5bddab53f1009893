"""When frames left and when orders came in, on the exchange's own monotonic clock: what a client's reaction time is measured by."""

from __future__ import annotations

import time
from collections import deque

MARKS = 50_000


class Stopwatch:
    """The newest marks, oldest first."""

    def __init__(self) -> None:
        self._marks: deque[tuple[str, str, int]] = deque(maxlen=MARKS)

    def mark(self, what: str, which: str) -> None:
        """Remember that `what` ("frames" of a boundary, an "order") happened now to `which`: the boundary's milliseconds, or the client's order id."""
        self._marks.append((what, which, time.monotonic_ns()))

    def marks(self) -> list[dict[str, object]]:
        """Every mark as {what, which, ns}."""
        return [{"what": what, "which": which, "ns": nanoseconds} for what, which, nanoseconds in self._marks]
