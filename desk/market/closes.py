"""Streamed bars on their way to events: put together by the time they carry, whatever the order they came in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from configs.vocabulary import Timeframe
from desk.events import Bar, BarsClosed
from desk.market.candle_stream import Heard


class Closes:
    """What was heard and not yet delivered, by close and symbol."""

    def __init__(self, symbols: Sequence[str], timeframe: Timeframe, cursor: datetime) -> None:
        self._symbols = tuple(sorted(symbols))
        self._timeframe = timeframe
        self._cursor = cursor
        self._heard: dict[datetime, dict[str, Heard]] = {}

    def add(self, heard: Heard) -> str:
        """Take a bar in. What is old or heard before is dropped; returns why the stream is in doubt, empty when it is not."""
        bar = heard.bar
        if bar.closed_at <= self._cursor:
            return ""
        there = self._heard.setdefault(bar.closed_at, {}).setdefault(bar.symbol, heard)
        return "" if there.bar == bar else f"two different bars of {bar.symbol} closed {bar.closed_at.isoformat()}"

    def next(self, known: datetime) -> BarsClosed | None:
        """The event that follows on `known`, up to which nothing else closed; None while bars of it are missing."""
        first = min(self._heard, default=None)
        if first is None or first > known + self._timeframe.delta or len(self._heard[first]) < len(self._symbols):
            return None
        return BarsClosed(first, tuple(self._heard[first][symbol].bar for symbol in self._symbols))

    def gap(self, known: datetime) -> str:
        """Why the first event heard cannot be the next one, or can never become whole; empty when neither is known."""
        if not self._heard:
            return ""
        first, newest = min(self._heard), max(self._heard)
        if first > known + self._timeframe.delta:
            return f"nothing heard between {known.isoformat()} and {first.isoformat()}"
        missing = self.missing(first)
        return f"{', '.join(missing)} not heard at {first.isoformat()}, but others at {newest.isoformat()}" if missing and newest > first else ""

    def missing(self, closed_at: datetime) -> tuple[str, ...]:
        """Symbols not heard at this close."""
        return tuple(symbol for symbol in self._symbols if symbol not in self._heard.get(closed_at, {}))

    def bars(self, closed_at: datetime) -> tuple[Bar, ...]:
        """What was heard at this close, in symbol order."""
        heard = self._heard.get(closed_at, {})
        return tuple(heard[symbol].bar for symbol in self._symbols if symbol in heard)

    def until(self, closed_at: datetime) -> list[datetime]:
        """Closes heard up to and including this one, in time order."""
        return sorted(each for each in self._heard if each <= closed_at)

    def newest(self) -> datetime | None:
        """The newest close of which anything was heard and not delivered."""
        return max(self._heard, default=None)

    def waiting_since(self) -> float | None:
        """The second in which the first bar of the oldest close arrived; None when none waits."""
        first = min(self._heard, default=None)
        return None if first is None else min(heard.at_s for heard in self._heard[first].values())

    def settle(self, cursor: datetime) -> None:
        """Everything up to here is delivered: what is heard of it from now on is old."""
        self._cursor = cursor
        for each in [each for each in self._heard if each <= cursor]:
            del self._heard[each]
