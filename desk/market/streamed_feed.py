"""Closed bars as they happen. The stream says when to look; what is true is asked over REST.

A websocket can be silent, late, doubled or out of order; the candles endpoint cannot. So a streamed candle is only a hint that a bar may
have closed, and every event is read over REST from the last one delivered: backfill, reconnect and the ordinary case are one path.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

from configs.vocabulary import Timeframe
from desk.clock import WallClock
from desk.errors import SourceStale, Transient
from desk.events import BarsClosed
from desk.market.source import Source
from desk.market.stored_feed import StoredFeed

HINT_TIMEOUT_S = 1.0  # without a hint we look anyway, this often
# Outages leave fewer events than bars of time: how many times as far back as asked we look for enough of them.
REACHES = (1, 2, 4, 16)
RECONNECT_PAUSE_S = 0.5
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """When to stop: after `max_events`, or at the market's end. `advance` asks a market that waits for us for one more bar.

    `watchdog_s` is the wall time without progress after which the source counts as stale.
    """

    max_events: int
    ends_at: datetime | None = None
    advance: Callable[[], None] | None = None
    watchdog_s: float = 60.0


class StreamedFeed:
    """Implements `Feed`. `streams` makes a ccxt.pro exchange; it is called, used and closed on a thread of its own."""

    def __init__(self, source: Source, streams: Callable[[], Any], symbols: Sequence[str], timeframe: Timeframe, window: Window) -> None:
        self._source = source
        self._streams = streams
        self._symbols = tuple(sorted(symbols))
        self._timeframe = timeframe
        self._window = window
        self._opened_at: datetime | None = None

    @property
    def opened_at(self) -> datetime:
        """The market's newest close when it was first asked: a fresh start trades what closes after it."""
        if self._opened_at is None:
            self._opened_at = self._source.closed_until(self._timeframe)
        return self._opened_at

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """At most the last `bars` events closed at or before `until`; None: before the first event for trading."""
        end, events = until or self.opened_at, list[BarsClosed]()
        for reach in REACHES:
            events = list(self._closed(end - reach * bars * self._timeframe.delta, end))
            if len(events) >= bars:
                break
        yield from events[-bars:]

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Every event closed after `after`, first what was missed, then what comes; `SourceStale` when nothing moves any more."""
        cursor, left = after or self.opened_at, self._window.max_events
        watchdog = _Watchdog(WallClock(), self._window.watchdog_s, self._timeframe.delta.total_seconds())
        with _Hints(self._streams, self._symbols, self._timeframe) as hints:
            while left > 0:
                now, found = self._look(cursor, watchdog)
                for event in found[:left]:
                    cursor, left = event.closed_at, left - 1
                    yield event
                    watchdog.restart()
                if found:
                    continue
                if now is not None and self._window.ends_at is not None and now >= self._window.ends_at:
                    return
                watchdog.check(cursor)
                if now is not None and self._window.advance is not None:
                    self._window.advance()
                hints.wait()

    def _look(self, cursor: datetime, watchdog: _Watchdog) -> tuple[datetime | None, list[BarsClosed]]:
        """The market's newest close and every event since `cursor`. A source that cannot answer is the watchdog's business."""
        try:
            now = self._source.closed_until(self._timeframe)
            found = list(self._closed(cursor, now)) if now > cursor else []
        except Transient as error:
            watchdog.excuse = str(error)
            return None, []
        driven = self._window.advance is not None
        watchdog.saw(now, silent=now > cursor and not found and not driven, driven=driven)
        return now, found

    def _closed(self, since: datetime, until: datetime) -> Iterator[BarsClosed]:
        """Events closed after `since`, up to and including `until`."""
        pages = [page for symbol in self._symbols for page in self._source.bars(symbol, self._timeframe, since, until)]
        if pages:
            import polars as pl

            yield from StoredFeed(pl.concat(pages)).events(None)


class _Watchdog:
    """Counts wall seconds without progress: an event, or market time that moves without leaving bars out."""

    def __init__(self, clock: WallClock, limit_s: float, bar_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._bar_s = bar_s
        self._since = clock.seconds()
        self._seen: datetime | None = None
        self._silent = False
        self._patience_s = limit_s
        self.excuse = "no bar"

    def restart(self) -> None:
        """Something happened."""
        self._since = self._clock.seconds()

    def saw(self, now: datetime, *, silent: bool, driven: bool) -> None:
        """The market's newest close; `silent`: it has closed bars and printed none. A market that is not driven may take a bar's length to move."""
        if now != self._seen and not (silent and self._silent):
            self.restart()
        self._seen, self._silent = now, silent
        self._patience_s = self._limit_s if silent or driven else self._limit_s + self._bar_s

    def check(self, cursor: datetime) -> None:
        """Raise `SourceStale` when patience is over."""
        quiet_s = self._clock.seconds() - self._since
        if quiet_s > self._patience_s:
            expected = f"a bar closed after {cursor.isoformat()} within {self._patience_s:.0f} s"
            raise SourceStale(f"expected {expected}, found {self.excuse}: check the source, then start again")


class _Hints:
    """A thread with an event loop that watches every symbol's candles and rings when one arrives."""

    def __init__(self, streams: Callable[[], Any], symbols: Sequence[str], timeframe: Timeframe) -> None:
        self._streams = streams
        self._symbols = symbols
        self._timeframe = timeframe
        self._bell = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="candle-hints", daemon=True)

    def __enter__(self) -> _Hints:
        self._thread.start()
        self._watching = asyncio.run_coroutine_threadsafe(self._watch_all(), self._loop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        try:
            self._watching.result(CLOSE_TIMEOUT_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
            self._loop.close()

    def wait(self) -> None:
        """Until something arrived, or long enough to look without a hint. An error of the watchers that is not the network's is raised here."""
        if self._watching.done():
            self._watching.result()
        self._bell.wait(HINT_TIMEOUT_S)
        self._bell.clear()

    async def _watch_all(self) -> None:
        exchange = self._streams()
        # One task per symbol: the call for many symbols at once loses candles.
        watchers = [asyncio.create_task(self._watch(exchange, symbol)) for symbol in self._symbols]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([stopping, *watchers], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (stopping, *watchers):
                task.cancel()
            await asyncio.gather(stopping, *watchers, return_exceptions=True)
            await exchange.close()

    async def _watch(self, exchange: Any, symbol: str) -> None:
        import ccxt

        while True:
            try:
                await exchange.watch_ohlcv(symbol, self._timeframe.value)
                self._bell.set()
            except ccxt.BaseError:
                # The stream is a hint: without it the feed looks by itself, and the watchdog judges the source.
                await asyncio.sleep(RECONNECT_PAUSE_S)
