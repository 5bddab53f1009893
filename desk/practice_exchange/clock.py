"""The exchange's two clocks: the wire's, which is wall time and judges signatures, and the market's, which stands where the tape was left.

The market clock settles one bar boundary at a time, so that nothing can happen between two bars unseen. With speed 0 it stands still between
advances; with speed X it flows at X times real time but never passes a boundary that is not settled yet.
"""

from __future__ import annotations

import time

MINUTE_MS = 60_000


class WireClock:
    """Wall time in milliseconds, shifted by `skew_ms` when a fault is being practised."""

    def __init__(self) -> None:
        self.skew_ms = 0

    def milliseconds(self) -> int:
        """Now, in milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000 + self.skew_ms


class MarketClock:
    """Where the market stands: `settled_ms` is the last boundary every consequence of which is booked."""

    def __init__(self, settled_ms: int, step_ms: int, ends_at_ms: int, speed: float) -> None:
        self.settled_ms = settled_ms
        self.step_ms = step_ms
        self.ends_at_ms = ends_at_ms
        self.speed = speed
        self._anchor_s = time.monotonic()

    def milliseconds(self) -> int:
        """Market time now, in milliseconds since 1970 UTC."""
        if not self.speed or self.over:
            return self.settled_ms
        flowed_ms = int((time.monotonic() - self._anchor_s) * 1000 * self.speed)
        return self.settled_ms + min(flowed_ms, self.step_ms - 1)

    def settle(self, boundary_ms: int) -> None:
        """Stand at a boundary; time flows on from here."""
        self._anchor_s += (boundary_ms - self.settled_ms) / (1000 * self.speed) if self.speed else 0.0
        # An advance by hand runs ahead of the flow: the flow starts again from there.
        self._anchor_s = min(self._anchor_s, time.monotonic())
        self.settled_ms = boundary_ms

    @property
    def over(self) -> bool:
        """Whether the tape has come to its end."""
        return self.settled_ms >= self.ends_at_ms

    def seconds_to_boundary(self) -> float:
        """Real seconds until the next boundary is due; speed must not be 0."""
        return max(0.0, self._anchor_s + self.step_ms / (1000 * self.speed) - time.monotonic())
