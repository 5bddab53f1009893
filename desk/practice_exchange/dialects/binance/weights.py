"""The request-weight counter: so much per minute, then 429 with Retry-After.

A minute ends when the wall's minute ends or when market time reaches another minute: a market that is driven bar by bar would otherwise charge
hours of market time to one minute of the wall.
"""

from __future__ import annotations

from desk.practice_exchange.clock import MINUTE_MS, WireClock
from desk.practice_exchange.dialects.binance.errors import over_weight

DEFAULT_LIMIT = 6000
SECOND_MS = 1000
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50))
DEEPEST_WEIGHT = 250


class WeightCounter:
    """Weight used in the current minute."""

    def __init__(self, limit: int, clock: WireClock) -> None:
        self.used = 0
        self.limit = limit
        self._clock = clock
        self._minute = (-1, -1)

    def charge(self, weight: int, market_ms: int) -> None:
        """Count a request; raises 429 (-1003) when it goes over the limit."""
        now = self._clock.milliseconds()
        minute = (now // MINUTE_MS, market_ms // MINUTE_MS)
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += weight
        if self.used > self.limit:
            raise over_weight(self.limit, (MINUTE_MS - now % MINUTE_MS) // SECOND_MS + 1)


def depth_weight(limit: int) -> int:
    """Weight of an order book of so many levels."""
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), DEEPEST_WEIGHT)
