"""What the book says about the price of an order: depth, spread, impact, and how old all that is.

A book that is empty, crossed, too sparse for the question or too old has no answer: nan, never an exception. Who asks decides without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from configs.vocabulary import Side
from desk.clock import WallClock

BASIS_POINT = 1e-4
UNKNOWN = math.nan
LEVELS_ASKED = 100

Level = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BookView:
    """One look at a book: (price, base quantity) from the touch outwards, and when it was seen, in seconds of a clock for durations."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    seen_at: float

    @classmethod
    def of(cls, bids: Iterable[Sequence[Any]], asks: Iterable[Sequence[Any]], seen_at: float) -> BookView:
        """Read levels in any order; those that are no positive finite numbers are left out."""
        return cls(_ladder(bids, descending=True), _ladder(asks, descending=False), seen_at)

    @property
    def usable(self) -> bool:
        """Whether both sides exist and do not cross."""
        return bool(self.bids and self.asks) and self.bids[0][0] < self.asks[0][0]

    @property
    def mid(self) -> float:
        """Middle of the touch (quote); nan when unusable."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.usable else UNKNOWN

    @property
    def half_spread_bps(self) -> float:
        """Half the quoted spread in basis points of the middle; nan when unusable."""
        return (self.asks[0][0] / self.mid - 1) / BASIS_POINT if self.usable else UNKNOWN

    def age(self, now: float) -> float:
        """Seconds since it was seen."""
        return now - self.seen_at

    def touch(self, side: Side) -> float:
        """Best price (quote) at which others stand on our side: where a passive order of `side` would rest; nan when unusable."""
        if not self.usable:
            return UNKNOWN
        return self.bids[0][0] if side is Side.BUY else self.asks[0][0]

    def depth(self, side: Side, bps: float) -> float:
        """Base quantity that an order of `side` can take within `bps` of the middle; nan when unusable."""
        if not self.usable:
            return UNKNOWN
        reach = bps * BASIS_POINT
        return sum(quantity for price, quantity in self._opposite(side) if side.sign * (price / self.mid - 1) <= reach)

    def impact_bps(self, side: Side, quantity: float) -> float:
        """How much worse than the middle an order of `quantity` > 0 (base) would fill on average, in basis points, spread included.

        nan when unusable, or when the visible book cannot fill it.
        """
        if not self.usable:
            return UNKNOWN
        left, paid = quantity, 0.0
        for price, offered in self._opposite(side):
            taken = min(left, offered)
            paid += taken * price
            left -= taken
            if left <= 0:
                return side.sign * (paid / quantity / self.mid - 1) / BASIS_POINT
        return UNKNOWN

    def _opposite(self, side: Side) -> tuple[Level, ...]:
        return self.asks if side is Side.BUY else self.bids


class Liquidity:
    """Reads books through `exchange`, a synchronous ccxt object. A view older than `max_age_s` is never handed out: it is asked for again."""

    def __init__(self, exchange: Any, clock: WallClock, max_age_s: float) -> None:
        self._exchange = exchange
        self._clock = clock
        self._max_age_s = max_age_s
        self._views: dict[str, BookView] = {}

    def view(self, symbol: str) -> BookView:
        """The book of `symbol` now; one without levels when the exchange cannot say."""
        import ccxt

        known = self._views.get(symbol)
        if known is not None and known.age(self._clock.seconds()) <= self._max_age_s:
            return known
        asked_at = self._clock.seconds()
        try:
            book = self._exchange.fetch_order_book(symbol, LEVELS_ASKED)
        except ccxt.BaseError:
            return BookView((), (), asked_at)
        # The age counts from the question: the answer can only be younger than that.
        view = BookView.of(book.get("bids") or (), book.get("asks") or (), asked_at)
        if view.age(self._clock.seconds()) > self._max_age_s:
            return BookView((), (), asked_at)
        self._views[symbol] = view
        return view

    def traded(self, symbol: str, since_ms: int | None) -> tuple[float, int | None]:
        """Base quantity that the market traded after `since_ms` (exchange time), and the time of the newest trade; 0 when it cannot say."""
        import ccxt

        try:
            trades = self._exchange.fetch_trades(symbol, since_ms, None)
        except ccxt.BaseError:
            return 0.0, since_ms
        fresh = [trade for trade in trades if since_ms is None or trade["timestamp"] > since_ms]
        newest = max((int(trade["timestamp"]) for trade in fresh), default=since_ms)
        return sum(float(trade["amount"]) for trade in fresh), newest

    def minute_volumes(self, symbol: str, minutes: int) -> tuple[float, ...]:
        """Base quantity traded in each of the last closed minutes, oldest first; empty when the exchange cannot say."""
        import ccxt

        try:
            rows = self._exchange.fetch_ohlcv(symbol, "1m", None, minutes + 1)
        except ccxt.BaseError:
            return ()
        # The newest candle is still forming.
        return tuple(float(row[5]) for row in rows[:-1][-minutes:])


def _ladder(levels: Iterable[Sequence[Any]], *, descending: bool) -> tuple[Level, ...]:
    found = []
    for level in levels:
        price, quantity = (_number(part) for part in [*level, None, None][:2])
        if price > 0 and quantity > 0 and math.isfinite(price) and math.isfinite(quantity):
            found.append((price, quantity))
    return tuple(sorted(found, reverse=descending))


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return UNKNOWN
