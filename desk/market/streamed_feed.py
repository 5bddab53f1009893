"""Closed bars as they happen: the stream tells them, REST is asked whenever something is odd, and what REST says is true.

In the ordinary case the frame that closes a bar is the event: when every symbol's has arrived it is delivered, and nobody is asked. A start, a
connection, a gap, a symbol that stays silent, a frame that does not fit: each is a doubt, and a doubt is settled by reading every event over REST
from the last one delivered. Backfill, reconnection and distrust are one path. Nothing is asked while nothing is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from configs.vocabulary import Timeframe
from desk.clock import WallClock
from desk.errors import Transient
from desk.events import BarsClosed
from desk.log import event
from desk.market.candle_stream import CandleStream, Diverged, Heard, Joined, Odd, Said
from desk.market.closes import Closes
from desk.market.source import Source
from desk.market.stored_feed import StoredFeed
from desk.market.watchdog import Pace, Watchdog

# Outages leave fewer events than bars of time: how many times as far back as asked we look for enough of them.
REACHES = (1, 2, 4, 16)
HEARING_S = 0.25  # from the first bar of a close to the last one, and from asking a market for a bar to hearing it
RETRY_S = 0.25  # before asking again a source that could not answer, or that does not know yet what the stream told
LAG_LIMIT_S = 10.0  # for so long the stream may know more than REST
MISSES = 2  # closes in a row that a connected stream did not tell: it is frozen, whatever its socket says
SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Window:
    """When to stop: after `max_events`, or at the market's end. `advance` asks a market that waits for us for one more bar.

    `watchdog_s` is the wall time without progress after which the source counts as stale.
    """

    max_events: int
    ends_at: datetime | None = None
    advance: Callable[[], None] | None = None
    watchdog_s: float = 60.0


@dataclass(frozen=True, slots=True)
class _Market:
    """What is followed, and how it is asked."""

    source: Source
    symbols: tuple[str, ...]
    timeframe: Timeframe

    def closed(self, since: datetime, until: datetime) -> list[BarsClosed]:
        """Events closed after `since`, up to and including `until`, over REST."""
        pages = [page for symbol in self.symbols for page in self.source.bars(symbol, self.timeframe, since, until)]
        if not pages:
            return []
        import polars as pl

        return list(StoredFeed(pl.concat(pages)).events(None))


class StreamedFeed:
    """Implements `Feed`. `streams` makes a ccxt.pro exchange; it is called, used and closed on a thread of its own.

    `on_reconnect` may be set at any time: it is called on the consumer's thread, between two events, whenever the stream was lost and joined again.
    """

    def __init__(self, source: Source, streams: Callable[[], Any], symbols: Sequence[str], timeframe: Timeframe, window: Window) -> None:
        self._market = _Market(source, tuple(sorted(symbols)), timeframe)
        self._streams = streams
        self._window = window
        self._opened_at: datetime | None = None
        self.on_reconnect: Callable[[], None] = _nothing

    @property
    def opened_at(self) -> datetime:
        """The market's newest close when it was first asked: a fresh start trades what closes after it."""
        if self._opened_at is None:
            self._opened_at = self._market.source.closed_until(self._market.timeframe)
        return self._opened_at

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """At most the last `bars` events closed at or before `until`; None: before the first event for trading. Fewer than asked are named."""
        end, events = until or self.opened_at, list[BarsClosed]()
        for reach in REACHES:
            events = self._market.closed(end - reach * bars * self._market.timeframe.delta, end)
            if len(events) >= bars:
                break
        if len(events) < bars:
            event("history.shortened", level="WARNING", asked=bars, found=len(events), until=end.isoformat())
        yield from events[-bars:]

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Every event closed after `after`, first what was missed, then what comes; `SourceStale` when nothing moves any more."""
        with CandleStream(self._streams, self._market.symbols, self._market.timeframe) as stream:
            following = _Following(self._market, self._window, stream, after or self.opened_at)
            yield from following.events(lambda: self.on_reconnect())


class _Following:
    """One reading of a market from `cursor` on. `doubt` says why REST must be asked before the next event; empty when the stream is believed."""

    def __init__(self, market: _Market, window: Window, stream: CandleStream, cursor: datetime) -> None:
        clock = WallClock()
        self._market, self._window, self._stream, self._clock = market, window, stream, clock
        self._cursor = self._known = cursor
        self._closes = Closes(market.symbols, market.timeframe, cursor)
        self._pace = Pace(clock, market.timeframe, window.watchdog_s)
        self._watchdog = Watchdog(clock, window.watchdog_s, market.timeframe.delta.total_seconds())
        self._doubt = "the start"
        self._believed = True  # until the audit finds that the stream told otherwise than REST
        self._unverified = True  # the first event of every connection is compared with REST
        self._joined = self._asked = self._over = False
        self._missed = dict.fromkeys(market.symbols, 0)
        self._lagging_since: float | None = None
        self._rejoined = False

    def events(self, on_reconnect: Callable[[], None]) -> Iterator[BarsClosed]:
        """The loop: events found or heard, until there are enough of them or the market is over."""
        left = self._window.max_events
        while left > 0 and not self._over:
            if self._rejoined:
                self._rejoined = False
                on_reconnect()
            for found in (self._look() if self._doubt else self._listen())[:left]:
                self._deliver(found.closed_at)
                left -= 1
                yield found
                self._watchdog.restart()

    def _deliver(self, closed_at: datetime) -> None:
        self._cursor, self._known, self._asked = closed_at, max(self._known, closed_at), False
        self._closes.settle(closed_at)

    def _listen(self) -> list[BarsClosed]:
        """The next event that was heard whole; nothing when there is a doubt, or more to hear."""
        heard = self._closes.next(self._known)
        if heard is not None and self._believed and not self._unverified:
            self._missed = dict.fromkeys(self._missed, 0)
            self._pace.heard(heard.closed_at)
            return [heard]
        self._doubt = ("the first event" if heard is not None else "") or self._closes.gap(self._known)
        if not self._doubt:
            self._take()
        return []

    def _take(self) -> None:
        """Wait for the next thing said, and see whether it fits."""
        if self._window.advance is not None and not self._asked:
            self._asked = True
            self._window.advance()
        said = self._stream.take(self._patience_s())
        if said is None:
            self._doubt = SILENCE
        else:
            self._doubt = self._judged(said)

    def _judged(self, said: Said) -> str:
        match said:
            case Heard():
                return self._closes.add(said)
            case Joined():
                self._rejoined = said.connection > 1
                self._joined = self._unverified = True
                self._missed = dict.fromkeys(self._missed, 0)
                return "a connection"
            case Odd():
                event("stream.doubted", level="WARNING", why=said.what)
                return said.what
            case Diverged():
                self._distrust(said.what)
                return said.what

    def _patience_s(self) -> float:
        since = self._closes.waiting_since()
        if since is not None:
            return since + HEARING_S - self._clock.seconds()
        return HEARING_S if self._window.advance is not None else self._pace.patience_s()

    def _look(self) -> list[BarsClosed]:
        """Every event since the cursor, over REST. A source that cannot answer is the watchdog's business, and leaves the doubt."""
        try:
            now = self._market.source.closed_until(self._market.timeframe)
            found = self._market.closed(self._cursor, now) if now > self._cursor else []
        except Transient as error:
            self._watchdog.excuse = str(error)
            self._watchdog.check(self._cursor)
            self._linger()
            return []
        found = self._compared(now, found)
        self._pace.looked(now, found=bool(found))
        if found:
            return found
        driven = self._window.advance is not None
        self._watchdog.saw(now, silent=now > self._cursor and not driven, driven=driven)
        self._over = self._window.ends_at is not None and now >= self._window.ends_at and not self._doubt
        self._watchdog.check(self._cursor)
        self._asked = False
        if self._doubt or self._closes.newest() is not None:
            # REST, or its clock, is behind what was heard.
            self._linger()
        return []

    def _compared(self, now: datetime, found: list[BarsClosed]) -> list[BarsClosed]:
        """What REST tells as far as it is settled: events before the first one of which the stream knows more. Settles the doubt, or leaves it."""
        told = {each.closed_at: each for each in found}
        for closed_at in self._closes.until(now):
            bars = {bar.symbol: bar for bar in told[closed_at].bars} if closed_at in told else {}
            heard = self._closes.bars(closed_at)
            if any(bar.symbol not in bars for bar in heard) and not self._lag_is_over():
                return [each for each in found if each.closed_at < closed_at]
            differing = [bar.symbol for bar in heard if bars.get(bar.symbol) != bar]
            if differing:
                self._distrust(f"{', '.join(differing)} closed {closed_at.isoformat()} otherwise than REST")
            elif not self._closes.missing(closed_at):
                self._unverified = False
        self._accuse(found)
        self._known, self._doubt, self._lagging_since = max(now, self._known), "", None
        self._closes.settle(now)
        return found

    def _lag_is_over(self) -> bool:
        """Whether REST had time enough to know what the stream told."""
        now_s = self._clock.seconds()
        self._lagging_since = self._lagging_since or now_s
        return now_s - self._lagging_since > LAG_LIMIT_S

    def _accuse(self, found: list[BarsClosed]) -> None:
        """A joined stream that told nothing of several closes in a row is frozen: make another connection. What may be on its way is no miss."""
        newest = self._closes.newest()
        for each in found:
            if not self._joined or (self._doubt != SILENCE and (newest is None or each.closed_at > newest)):
                continue
            missing = self._closes.missing(each.closed_at)
            for bar in each.bars:
                self._missed[bar.symbol] = self._missed[bar.symbol] + 1 if bar.symbol in missing else 0
        frozen = [symbol for symbol, missed in self._missed.items() if missed >= MISSES]
        if frozen:
            self._joined = False
            self._stream.reconnect(f"{', '.join(frozen)} silent for {MISSES} closes that REST knows")

    def _distrust(self, what: str) -> None:
        """From here on every event is read over REST: the stream only says when."""
        self._believed = False
        event("stream.diverged", level="ERROR", what=what)

    def _linger(self) -> None:
        """Hear what is said for a moment, without acting on it."""
        until_s = self._clock.seconds() + RETRY_S
        while (left_s := until_s - self._clock.seconds()) > 0:
            said = self._stream.take(left_s)
            if said is not None:
                self._judged(said)


def _nothing() -> None:
    """What happens on a reconnection when nobody asked for anything."""
