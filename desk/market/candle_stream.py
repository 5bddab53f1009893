"""Closed candles as the exchange prints them: one websocket, heard on a thread with an event loop of its own.

Only frames that say that their candle is final become bars; the forming candle is never handed on. ccxt keeps a cache that drops that word, so its
handler is replaced by ours: nothing is buffered between the wire and the queue. All symbols are subscribed in one message per connection. What is
heard is compared with REST on a schedule, beside the session and never in its way.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from configs.vocabulary import Timeframe
from desk.clock import WallClock
from desk.events import Bar
from desk.log import event
from desk.market.watchdog import SILENCE_S, Pulse

FIRST_PAUSE_S = 0.25  # before the second attempt to connect; doubles up to the longest, so that no exchange meets a storm of subscriptions
LONGEST_PAUSE_S = 30.0
CLOSE_TIMEOUT_S = 5.0
MIND_EVERY_S = 1.0
SAME_TIME_MS = 60_000  # an exchange whose event times are this near to our clock lives in our time
AUDIT_EVERY_S = 20.0
AUDIT_AFTER_S = 3.0  # an exchange may print a close on the stream a moment before its candles endpoint knows it
AUDITED_BARS = 500  # the newest of each symbol: one page of candles
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Heard:
    """A final bar, and the second (of a clock for durations) at which it arrived."""

    bar: Bar
    at_s: float


@dataclass(frozen=True, slots=True)
class Joined:
    """The exchange confirmed the subscription: what closes from here on is streamed. Connections count from 1."""

    connection: int


@dataclass(frozen=True, slots=True)
class Odd:
    """Something that does not fit: ask over REST before believing the stream."""

    what: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """The stream and REST tell different bars: the stream is not to be believed any more."""

    what: str


Said = Heard | Joined | Odd | Diverged


class CandleStream:
    """A context in which closed candles of `symbols` arrive. `streams` makes a ccxt.pro exchange; it is made, used and closed on this stream's thread.

    `audit_every_s`: how often what was heard is compared with REST.
    """

    def __init__(self, streams: Callable[[], Any], symbols: Sequence[str], timeframe: Timeframe, audit_every_s: float = AUDIT_EVERY_S) -> None:
        self._streams = streams
        self._symbols = tuple(symbols)
        self._timeframe = timeframe
        self._audit_every_s = audit_every_s
        self._clock = WallClock()
        self._said: queue.SimpleQueue[Said | BaseException] = queue.SimpleQueue()
        self._stop, self._disturbed = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="candle-stream", daemon=True)
        self._names: dict[str, str] = {}
        self._recent: OrderedDict[tuple[str, datetime], Heard] = OrderedDict()
        self._pulses: dict[str, Pulse] = {}
        self._pause_s, self._connections = FIRST_PAUSE_S, 0

    def __enter__(self) -> CandleStream:
        self._thread.start()
        self._watching = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        self._watching.add_done_callback(self._ended)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        try:
            self._watching.result(CLOSE_TIMEOUT_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
            self._loop.close()

    def take(self, timeout_s: float) -> Said | None:
        """The next thing said, or None when nothing was for so long. A defect of the watcher is raised here."""
        try:
            said = self._said.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None
        if isinstance(said, BaseException):
            raise said
        return said

    def reconnect(self, why: str) -> None:
        """Give this connection up and make another, after the pause."""
        event("stream.reconnected", level="WARNING", why=why, symbols=len(self._symbols))
        self._loop.call_soon_threadsafe(self._disturbed.set)

    def _ended(self, watching: Future[None]) -> None:
        """A defect of ours ends the watching: it is raised again where the stream is read."""
        error = None if watching.cancelled() else watching.exception()
        if error is not None:
            self._said.put(error)

    async def _run(self) -> None:
        exchange = self._streams()
        exchange.handle_ohlcv, exchange.handle_subscription_status = self._hear, self._join
        beside = [asyncio.create_task(self._audit(exchange)), asyncio.create_task(self._mind())]
        try:
            while not self._stop.is_set():
                await self._connection(exchange)
                await self._unless_stopped(self._pause_s)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await exchange.close()

    async def _connection(self, exchange: Any) -> None:
        """One connection, from its subscription until it breaks, is given up or is not wanted any more."""
        import ccxt

        self._disturbed.clear()
        pairs = [[symbol, self._timeframe.value] for symbol in self._symbols]
        tasks = [asyncio.ensure_future(each) for each in (self._watch(exchange, pairs), self._disturbed.wait(), self._stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        except ccxt.BaseError as error:
            self._said.put(Odd(f"the stream broke: {type(error).__name__} {error}"))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await exchange.close_ws_clients()

    async def _watch(self, exchange: Any, pairs: list[list[str]]) -> None:
        await exchange.load_markets()
        self._names = {exchange.market(symbol)["id"]: symbol for symbol in self._symbols}
        # Our handler resolves nothing: this returns only by an error, when the connection is gone.
        await exchange.watch_ohlcv_for_symbols(pairs)

    async def _unless_stopped(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    def _join(self, client: Any, message: Any) -> None:
        self._connections += 1
        self._pulses.clear()
        self._said.put(Joined(self._connections))

    def _hear(self, client: Any, message: Mapping[str, Any]) -> None:
        """ccxt's handler of candle frames."""
        self._pause_s = FIRST_PAUSE_S
        self._beat(message)
        try:
            bar = final_bar(message, self._names, self._timeframe)
        except (KeyError, TypeError, ValueError) as error:
            self._said.put(Odd(f"a frame that is no candle: {error}"))
            return
        if bar is None:
            return
        heard = Heard(bar, self._clock.seconds())
        self._said.put(heard)
        self._recent[bar.symbol, bar.open_time] = heard
        if len(self._recent) > AUDITED_BARS * len(self._symbols):
            self._recent.popitem(last=False)

    def _beat(self, message: Mapping[str, Any]) -> None:
        """Any frame, final or forming, of a market whose time is ours shows that its stream is alive. In other markets only closes tell."""
        event_ms, symbol = message.get("E"), str(message.get("s"))
        now_ms = (self._clock.now() - EPOCH) // MILLISECOND
        if isinstance(event_ms, int) and abs(now_ms - event_ms) < SAME_TIME_MS:
            self._pulses.setdefault(symbol, Pulse()).beat(self._clock.seconds())

    async def _mind(self) -> None:
        """Give the connection up when a stream that used to speak is silent, whatever the socket says."""
        while not self._stop.is_set():
            await self._unless_stopped(MIND_EVERY_S)
            now_s = self._clock.seconds()
            silent = sorted(symbol for symbol, pulse in self._pulses.items() if pulse.silent(now_s))
            if silent:
                self._pulses.clear()
                self.reconnect(f"{', '.join(silent)} said nothing for {SILENCE_S:.0f} s or more")

    async def _audit(self, exchange: Any) -> None:
        """Compare what was heard with REST, again and again. An answer that does not come is asked for the next time."""
        import ccxt

        while not self._stop.is_set():
            await self._unless_stopped(self._audit_every_s)
            for symbol, bars in self._unaudited().items():
                since = (bars[0].open_time - EPOCH) // MILLISECOND
                try:
                    rows = await exchange.fetch_ohlcv(symbol, self._timeframe.value, since, 2 * AUDITED_BARS)
                except ccxt.BaseError as error:
                    event("stream.unaudited", level="WARNING", symbol=symbol, bars=len(bars), found=str(error))
                    continue
                found = difference(bars, rows)
                if found:
                    self._said.put(Diverged(found))

    def _unaudited(self) -> dict[str, list[Bar]]:
        """Bars heard long enough ago and not compared yet, by symbol, in time order; they count as compared from now on."""
        settled_s, due = self._clock.seconds() - min(AUDIT_AFTER_S, self._audit_every_s), dict[str, list[Bar]]()
        for key, heard in list(self._recent.items()):
            if heard.at_s <= settled_s:
                due.setdefault(heard.bar.symbol, []).append(heard.bar)
                del self._recent[key]
        return {symbol: sorted(bars, key=lambda bar: bar.open_time) for symbol, bars in due.items()}


def final_bar(message: Mapping[str, Any], names: Mapping[str, str], timeframe: Timeframe) -> Bar | None:
    """The bar of a candle frame that says it is final; None for a forming one and for other symbols. ValueError for a bar that cannot be."""
    candle = message["k"]
    symbol = names.get(candle["s"])
    if candle["x"] is not True or symbol is None or candle["i"] != timeframe.value:
        return None
    opened_ms, event_ms = int(candle["t"]), int(message["E"])
    numbers = tuple(float(candle[key]) for key in "ohlcv")
    opened, high, low, closed, volume = numbers
    # An exchange has been seen to call a candle final that was still forming: its own event time tells.
    if opened_ms % timeframe.milliseconds or event_ms < opened_ms + timeframe.milliseconds - 1:
        raise ValueError(f"{symbol} at {opened_ms} said to be final at {event_ms}")
    if not all(map(math.isfinite, numbers)) or not 0 < low <= min(opened, closed) <= max(opened, closed) <= high or volume < 0:
        raise ValueError(f"{symbol} at {opened_ms} with {numbers}")
    return Bar(symbol, timeframe, EPOCH + timedelta(milliseconds=opened_ms), opened, high, low, closed, volume)


def difference(bars: Sequence[Bar], rows: Sequence[Sequence[Any]]) -> str:
    """The first bar that REST tells otherwise or not at all, as expected and found; empty when all agree."""
    if len(rows) >= 2 * AUDITED_BARS:
        # A full page may have ended before the last bar heard.
        bars = [bar for bar in bars if (bar.open_time - EPOCH) // MILLISECOND <= rows[-1][0]]
    told = {EPOCH + timedelta(milliseconds=row[0]): tuple(row[1:6]) for row in rows}
    for bar in bars:
        heard = tuple(getattr(bar, name) for name in FIELDS)
        if told.get(bar.open_time) != heard:
            return f"{bar.symbol} opened {bar.open_time.isoformat()}: REST has {told.get(bar.open_time)}, the stream said {heard}"
    return ""
