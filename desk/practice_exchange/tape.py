"""The tape: every bar the exchange will ever print, as arrays. What may be seen of it is the market clock's business, not the tape's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from desk.practice_exchange.listing import Listing

COLUMNS = ("open", "high", "low", "close", "volume")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Bars of one symbol in time order: open times in milliseconds, prices in quote, volume in base. Gaps are absent rows."""

    times: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def at(self, open_ms: int) -> int | None:
        """Row of the bar that opens at this instant, or None."""
        row = int(np.searchsorted(self.times, open_ms))
        return row if row < len(self.times) and self.times[row] == open_ms else None

    def before(self, instant_ms: int) -> int:
        """How many bars open before this instant."""
        return int(np.searchsorted(self.times, instant_ms))

    def rows(self, first: int, last: int) -> Candles:
        """Rows [first, last)."""
        return Candles(*(column[first:last] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Times, open, high, low, close, volume."""
        return (self.times, self.open, self.high, self.low, self.close, self.volume)

    def aggregate(self, step_ms: int) -> Candles:
        """The same market in longer bars: an aggregate holds the bars opened within it, however few."""
        if not len(self.times):
            return self
        opens = self.times - self.times % step_ms
        starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
        ends = np.concatenate((starts[1:], [len(opens)])) - 1
        high, low = np.maximum.reduceat(self.high, starts), np.minimum.reduceat(self.low, starts)
        return Candles(opens[starts], self.open[starts], high, low, self.close[ends], np.add.reduceat(self.volume, starts))


@dataclass(frozen=True, eq=False)
class Tape:
    """All candles by symbol; bars closed at or before `history_until_ms` are history, the others are still to come. Seed None: recorded."""

    timeframe: Timeframe
    candles: dict[str, Candles]
    listings: dict[str, Listing]
    history_until_ms: int
    ends_at_ms: int
    seed: int | None

    @property
    def starts_at_ms(self) -> int:
        """Open time of the very first bar."""
        return min(int(candles.times[0]) for candles in self.candles.values())

    @cached_property
    def hash(self) -> str:
        """sha256 of everything that will ever be printed, and of where history ends."""
        digest = hashlib.sha256(f"{self.timeframe}|{self.history_until_ms}|{self.ends_at_ms}".encode())
        for symbol in sorted(self.candles):
            digest.update(symbol.encode())
            for column in self.candles[symbol].columns():
                digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()
