"""Closed bars out of a stored frame: history, replayed in the order it happened."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from configs.vocabulary import Timeframe
from desk.errors import ContractBroken
from desk.events import Bar, BarsClosed


class StoredFeed:
    """Implements `Feed` over a bars frame of one timeframe. Events closed after `start` are for trading, those before are history."""

    def __init__(self, bars: pl.DataFrame, *, start: datetime | None = None) -> None:
        timeframes = bars["timeframe"].unique().to_list()
        if len(timeframes) != 1:
            raise ContractBroken(f"expected bars of exactly one timeframe, found {sorted(timeframes)}: filter the frame first")
        ordered = bars.sort("open_time", "symbol")
        self._timeframe = Timeframe(timeframes[0])
        columns = ("symbol", "open_time", "open", "high", "low", "close", "volume")
        self._rows = list(zip(*(ordered[name].to_list() for name in columns), strict=True))
        changed = (ordered["open_time"] != ordered["open_time"].shift(1)).fill_null(True)
        self._offsets = [*changed.arg_true().to_list(), len(self._rows)]
        self._closed = [self._rows[offset][1] + self._timeframe.delta for offset in self._offsets[:-1]]
        self._first = 0 if start is None else bisect_right(self._closed, start)

    @property
    def opened_at(self) -> datetime:
        """The instant this feed starts from: the open of the first bar it trades on."""
        index = min(self._first, len(self._closed) - 1)
        closed: datetime = self._closed[index]
        return closed - self._timeframe.delta

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """At most the last `bars` events closed at or before `until`; None: before the first event for trading."""
        end = self._first if until is None else bisect_right(self._closed, until)
        yield from map(self._event, range(max(end - bars, 0), end))

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Every event closed after `after`; None: from the start."""
        first = self._first if after is None else bisect_right(self._closed, after)
        yield from map(self._event, range(first, len(self._closed)))

    def _event(self, index: int) -> BarsClosed:
        rows = self._rows[self._offsets[index] : self._offsets[index + 1]]
        bars = tuple(Bar(symbol, self._timeframe, *rest) for symbol, *rest in rows)
        return BarsClosed(self._closed[index], bars)
