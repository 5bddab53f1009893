"""What may be asked: so much request weight per minute, so many new orders per ten seconds, then 429 with Retry-After; who goes on is banned: 418.

A window ends when the wall's ends or when market time reaches another: a market that is driven bar by bar would otherwise charge hours of market
time to one minute of the wall. A ban lasts by the wire's clock.
"""

from __future__ import annotations

from desk.practice_exchange.clock import MINUTE_MS, WireClock
from desk.practice_exchange.dialects.binance.errors import banned, over_orders, over_weight

DEFAULT_LIMIT = 6000
DEFAULT_ORDERS = 1_000_000  # far more than Binance's 100: benchmarks and drills send many; lower it to practise -1015
ORDER_WINDOW_S = 10
PATIENCE = 50  # refused requests of a minute before the ban
BAN_MS = 120_000
SECOND_MS = 1000
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50))
DEEPEST_WEIGHT = 250


class _Window:
    """Counts within a window of both clocks."""

    def __init__(self, length_ms: int) -> None:
        self.used = 0
        self._length_ms = length_ms
        self._window = (-1, -1)

    def count(self, amount: int, now_ms: int, market_ms: int) -> int:
        window = (now_ms // self._length_ms, market_ms // self._length_ms)
        if window != self._window:
            self._window, self.used = window, 0
        self.used += amount
        return self.used

    def ends_in_s(self, now_ms: int) -> int:
        return (self._length_ms - now_ms % self._length_ms) // SECOND_MS + 1


class WeightCounter:
    """Weight used in the current minute, and new orders in the current ten seconds."""

    def __init__(self, limit: int, clock: WireClock) -> None:
        self.limit = limit
        self.order_limit = DEFAULT_ORDERS
        self._clock = clock
        self._weight = _Window(MINUTE_MS)
        self._orders = _Window(ORDER_WINDOW_S * SECOND_MS)
        self._refused = _Window(MINUTE_MS)
        self._banned_until_ms = 0

    @property
    def used(self) -> int:
        """Weight of this minute so far."""
        return self._weight.used

    @property
    def orders(self) -> int:
        """New orders of these ten seconds so far."""
        return self._orders.used

    def charge(self, weight: int, market_ms: int) -> None:
        """Count a request; raises 429 (-1003) when it goes over the limit, and 418 for one who did not stop then."""
        now = self._clock.milliseconds()
        if now < self._banned_until_ms:
            raise banned(self._banned_until_ms, (self._banned_until_ms - now) // SECOND_MS + 1)
        if self._weight.count(weight, now, market_ms) > self.limit:
            if self._refused.count(1, now, market_ms) > PATIENCE:
                self.ban(BAN_MS)
                raise banned(self._banned_until_ms, BAN_MS // SECOND_MS)
            raise over_weight(self.limit, self._weight.ends_in_s(now))

    def charge_orders(self, orders: int, market_ms: int) -> None:
        """Count new orders; raises 429 (-1015) when they go over the limit."""
        now = self._clock.milliseconds()
        if self._orders.count(orders, now, market_ms) > self.order_limit:
            raise over_orders(self.order_limit, ORDER_WINDOW_S, self._orders.ends_in_s(now))

    def burden(self, weight: int, market_ms: int) -> None:
        """Count weight that somebody else behind the same address used."""
        self._weight.count(weight, self._clock.milliseconds(), market_ms)

    def ban(self, length_ms: int) -> None:
        """Hear nobody for so long: 418."""
        self._banned_until_ms = self._clock.milliseconds() + length_ms

    def pardon(self) -> None:
        """End a ban."""
        self._banned_until_ms = 0


def depth_weight(limit: int) -> int:
    """Weight of an order book of so many levels."""
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), DEEPEST_WEIGHT)
