"""A streamed feed delivers every closed bar once, whatever the stream does."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import ccxt.pro
import polars as pl
import pytest
from loguru import logger

from configs.vocabulary import Timeframe
from desk.errors import NetworkDown, SourceStale
from desk.execution.ccxt_settings import constructor_config
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource
from desk.market.stored_feed import StoredFeed
from desk.market.streamed_feed import StreamedFeed, Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Market:
    """A source whose clock stands until it is advanced. `holes` are (symbol, hour) without a bar; it fails as often as `failures` says."""

    def __init__(self, hours: int, holes: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.hours = hours
        self.holes = holes
        self.failures = 0
        self.asked = 0
        self.last_hour = 10**6

    def advance(self) -> None:
        self.hours = min(self.hours + 1, self.last_hour)

    def instruments(self) -> dict[str, Instrument]:
        return {}

    def closed_until(self, timeframe: Timeframe) -> datetime:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise NetworkDown("the line is down")
        return T0 + self.hours * HOUR

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        first, last = max((since - T0) // HOUR, 0), min((until - T0) // HOUR, self.hours)
        hours = [hour for hour in range(first, last) if (symbol, hour) not in self.holes]
        if hours:
            times = pl.Series("open_time", [T0 + hour * HOUR for hour in hours], dtype=pl.Datetime("us", "UTC"))
            prices = [pl.Series(name, [float(hour) for hour in hours]) for name in ("open", "high", "low", "close", "volume")]
            yield pl.DataFrame({"symbol": symbol, "timeframe": timeframe.value, "open_time": times}).with_columns(prices)


class Stream:
    """A ccxt.pro exchange on which whatever the test needs happens: it tells, forever fails, or stays silent. `tell` may be called from any thread."""

    def __init__(self, behaviour: str = "tells") -> None:
        self.behaviour = behaviour
        self.closed = False
        self.connections = 0
        self.again = threading.Event()
        self.told: list[tuple[str, int]] = []
        self.handle_ohlcv: Callable[..., None] = lambda client, message: None
        self.handle_subscription_status: Callable[..., None] = lambda client, message: None

    async def load_markets(self) -> None:
        self.loop = asyncio.get_running_loop()

    def market(self, symbol: str) -> dict[str, str]:
        return {"id": symbol.replace("/", "")}

    async def watch_ohlcv_for_symbols(self, pairs: list[list[str]]) -> None:
        if self.behaviour == "fails":
            raise ccxt.NetworkError("no stream")
        if self.behaviour == "breaks":
            raise TypeError("a defect of ours")
        self.connections += 1
        self.broken = asyncio.Event()
        if self.connections > 1:
            self.again.set()
        self.handle_subscription_status(None, {"result": None})
        await self.broken.wait()
        raise ccxt.NetworkError("the line was cut")

    def tell(self, symbol: str, hour: int, *, final: bool = True, price: float | None = None, at_hour: int | None = None) -> None:
        """The candle of this hour, as a frame."""
        number = str(float(hour) if price is None else price)
        opened = int((T0 + hour * HOUR).timestamp() * 1000)
        event = opened + 3_600_000 if at_hour is None else int((T0 + at_hour * HOUR).timestamp() * 1000)
        candle = {"t": opened, "s": symbol.replace("/", ""), "i": "1h", "x": final} | dict.fromkeys("ohlcv", number)
        if self.connections:
            self.told.append((symbol, hour))
            self.loop.call_soon_threadsafe(self.handle_ohlcv, None, {"e": "kline", "E": event, "s": candle["s"], "k": candle})

    def cut(self) -> None:
        """The connection breaks."""
        self.loop.call_soon_threadsafe(self.broken.set)

    async def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
        return []

    async def close_ws_clients(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


SYMBOLS = ("A/USDT", "B/USDT")


def feed(market: Market, window: Window, stream: Stream | None = None) -> StreamedFeed:
    """Over a stream that tells every bar of every hour the market advances to, unless it was told to be silent."""
    kept = stream or Stream()
    if window.advance is not None:
        window = replace(window, advance=lambda: told(market, kept))
    return StreamedFeed(market, lambda: kept, ["B/USDT", "A/USDT"], Timeframe.H1, window)


def told(market: Market, stream: Stream) -> None:
    """One hour passes, and its bars are printed."""
    before = market.hours
    market.advance()
    for symbol in SYMBOLS if stream.behaviour == "tells" and market.hours > before else ():
        if (symbol, market.hours - 1) not in market.holes:
            stream.tell(symbol, market.hours - 1)


def hours_of(events: Iterator[Any]) -> list[int]:
    return [(event.closed_at - T0) // HOUR for event in events]


def test_it_starts_with_what_closes_next() -> None:
    market = Market(100)

    streamed = feed(market, Window(3, advance=market.advance))

    assert hours_of(streamed.history(2, None)) == [99, 100]
    assert hours_of(streamed.events(None)) == [101, 102, 103]
    assert market.hours == 103


def test_it_first_delivers_what_was_missed() -> None:
    market = Market(100)

    assert hours_of(feed(market, Window(6, advance=market.advance)).events(T0 + 96 * HOUR)) == [97, 98, 99, 100, 101, 102]


def test_history_reaches_behind_an_outage_for_as_many_events_as_were_asked() -> None:
    outage = frozenset((symbol, hour) for symbol in ("A/USDT", "B/USDT") for hour in range(92, 98))
    streamed = feed(Market(100, outage), Window(1))

    assert hours_of(streamed.history(4, None)) == [91, 92, 99, 100]
    assert len(hours_of(streamed.history(500, None))) == 94


def test_bars_of_one_instant_come_together_and_a_missing_one_is_absent() -> None:
    market = Market(10, frozenset({("A/USDT", 10)}))

    events = list(feed(market, Window(2, advance=market.advance)).events(None))

    assert [[bar.symbol for bar in event.bars] for event in events] == [["B/USDT"], ["A/USDT", "B/USDT"]]


def test_an_outage_of_a_market_that_waits_for_us_is_passed_over() -> None:
    outage = frozenset((symbol, hour) for symbol in ("A/USDT", "B/USDT") for hour in (11, 12, 13))
    market = Market(10, outage)

    assert hours_of(feed(market, Window(3, advance=market.advance)).events(None)) == [11, 15, 16]


def test_the_window_ends_with_the_market() -> None:
    market = Market(10)
    market.last_hour = 13

    assert hours_of(feed(market, Window(99, ends_at=T0 + 13 * HOUR, advance=market.advance)).events(None)) == [11, 12, 13]


def test_a_line_that_comes_back_costs_nothing() -> None:
    market = Market(10)
    events = feed(market, Window(3, advance=market.advance)).events(T0 + 9 * HOUR)
    first = next(events)
    market.failures = 3

    assert hours_of(iter([first, *events])) == [10, 11, 12]
    assert market.hours == 12


def test_a_stream_that_fails_is_not_needed() -> None:
    market = Market(10)

    assert hours_of(feed(market, Window(2, advance=market.advance), Stream("fails")).events(None)) == [11, 12]


def test_a_defect_in_the_stream_is_not_swallowed() -> None:
    market = Market(10)

    with pytest.raises(TypeError, match="a defect of ours"):
        list(feed(market, Window(5, advance=market.advance), Stream("breaks")).events(None))


def test_a_market_that_stands_still_is_stale() -> None:
    market = Market(10)

    with pytest.raises(SourceStale, match="2024-01-01T10:00:00"):
        list(StreamedFeed(market, Stream, SYMBOLS, Timeframe.H1, Window(2, advance=lambda: None, watchdog_s=0.05)).events(None))


def test_a_market_that_prints_nothing_is_stale() -> None:
    """Real time: the clock says that bars closed, but nobody has them."""
    everything = frozenset((symbol, hour) for symbol in ("A/USDT", "B/USDT") for hour in range(10, 20))

    with pytest.raises(SourceStale, match="no bar"):
        list(feed(Market(12, everything), Window(2, watchdog_s=0.05)).events(T0 + 10 * HOUR))


def test_a_source_that_never_answers_is_stale_and_says_why() -> None:
    market = Market(10)
    streamed = feed(market, Window(2, watchdog_s=0.05))
    assert streamed.opened_at == T0 + 10 * HOUR
    market.failures = 10**9

    with pytest.raises(SourceStale, match="the line is down"):
        list(streamed.events(None))


def test_the_stream_is_closed_when_the_consumer_walks_away() -> None:
    market, stream = Market(10), Stream("silent")
    events = feed(market, Window(5, advance=market.advance), stream).events(T0 + 8 * HOUR)
    next(events)

    events.close()

    assert stream.closed


class Driver:
    """Drives a market and its stream by a script: what is done beside printing every bar, by hour. `silent` hours print nothing."""

    def __init__(self, hours: int = 10, silent: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.market, self.stream, self.silent = Market(hours), Stream(), silent
        self.script: dict[int, Callable[[], None]] = {}

    def advance(self) -> None:
        hour = self.market.hours
        self.market.advance()
        self.script.get(hour, lambda: None)()
        for symbol in SYMBOLS:
            if (symbol, hour) not in self.silent:
                self.stream.tell(symbol, hour)

    def feed(self, events: int) -> StreamedFeed:
        return StreamedFeed(self.market, lambda: self.stream, SYMBOLS, Timeframe.H1, Window(events, advance=self.advance, watchdog_s=20.0))

    def closes(self, events: int) -> list[tuple[int, tuple[float, ...]]]:
        """(hour, close of every bar) of so many events."""
        return [((event.closed_at - T0) // HOUR, tuple(bar.close for bar in event.bars)) for event in self.feed(events).events(None)]


def printed(first: int, last: int) -> list[tuple[int, tuple[float, ...]]]:
    """What the market printed in hours `first` to `last`, as `closes` tells it."""
    return [(hour, (float(hour - 1), float(hour - 1))) for hour in range(first, last + 1)]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Names of the events logged during the test."""
    names: list[str] = []
    sink = logger.add(lambda message: names.append(message.record["message"]), level="INFO")
    yield names
    logger.remove(sink)


def test_in_the_ordinary_case_nobody_is_asked() -> None:
    """Once a connection's first event is verified, the frames are the events: REST is not asked again."""
    driver = Driver()
    events = driver.feed(60).events(None)
    for _ in range(20):
        next(events)
    asked = driver.market.asked

    rest = hours_of(events)

    assert list(range(31, 71)) == rest
    assert asked == driver.market.asked


def test_doubled_late_and_replayed_frames_are_dropped_by_their_time() -> None:
    driver = Driver()
    driver.script = {hour: (lambda hour=hour: [driver.stream.tell(symbol, hour - back) for back in (0, 1, 5) for symbol in SYMBOLS]) for hour in range(15, 40)}

    assert printed(11, 50) == driver.closes(40)


def test_a_forming_candle_is_never_used() -> None:
    driver = Driver()
    driver.script = {hour: (lambda hour=hour: driver.stream.tell("A/USDT", hour, final=False, price=7.0)) for hour in range(12, 40)}

    assert printed(11, 40) == driver.closes(30)


def test_a_candle_called_final_before_its_close_is_not_believed(logged: list[str]) -> None:
    driver = Driver()
    driver.script = {20: lambda: driver.stream.tell("A/USDT", 20, price=7.0, at_hour=20)}

    assert printed(11, 30) == driver.closes(20)
    assert "stream.doubted" in logged


def test_a_frame_that_is_lost_costs_a_moment_and_not_a_bar() -> None:
    """Lost for one symbol, then for all: what is missing is asked for, and nothing else is delivered before it."""
    driver = Driver(silent=frozenset({("A/USDT", 20), ("A/USDT", 25), ("B/USDT", 25)}))

    assert printed(11, 30) == driver.closes(20)


def test_a_stream_that_stops_telling_is_connected_again(logged: list[str]) -> None:
    """The socket lives, but its frames stop: after two closes that only REST knows it is given up. No bar is lost, and the book is told."""
    driver = Driver(silent=frozenset((symbol, hour) for symbol in SYMBOLS for hour in range(20, 25)))
    streamed, rejoined = driver.feed(40), []
    streamed.on_reconnect = lambda: rejoined.append((driver.market.hours, threading.current_thread()))

    hours = hours_of(streamed.events(None))

    assert list(range(11, 51)) == hours
    assert "stream.reconnected" in logged
    assert 2 == driver.stream.connections
    assert [threading.main_thread()] == [thread for _, thread in rejoined]


def test_a_cut_line_is_joined_again_with_one_subscription() -> None:
    driver = Driver()
    driver.script = {20: driver.stream.cut}
    streamed, rejoined = driver.feed(20), []
    streamed.on_reconnect = lambda: rejoined.append(driver.market.hours)
    events = streamed.events(None)
    delivered = hours_of(next(events) for _ in range(19))

    assert driver.stream.again.wait(10)

    assert list(range(11, 31)) == delivered + hours_of(events)
    assert (2, 1) == (driver.stream.connections, len(rejoined))


def test_a_stream_that_tells_otherwise_than_rest_is_not_believed_any_more(logged: list[str]) -> None:
    """The first event of a connection is verified; from a difference on every event is read over REST, and an error says so."""
    driver = Driver(silent=frozenset((symbol, hour) for symbol in SYMBOLS for hour in range(10, 15)))
    driver.script = {hour: (lambda hour=hour: [driver.stream.tell(symbol, hour, price=3.0) for symbol in SYMBOLS]) for hour in range(10, 15)}

    assert printed(11, 30) == driver.closes(20)
    assert "stream.diverged" in logged


def test_two_different_bars_for_one_instant_are_settled_by_rest() -> None:
    driver = Driver()
    driver.script = {20: lambda: driver.stream.tell("A/USDT", 20, price=3.0)}

    assert printed(11, 30) == driver.closes(20)


def test_a_rest_that_lags_behind_the_stream_is_waited_for() -> None:
    """The stream tells a close that the candles endpoint does not know yet while it is being asked: nothing is delivered without it."""
    driver = Driver(silent=frozenset({("B/USDT", 20)}))
    lag = [2]
    whole = driver.market.bars

    def lagging(symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        if driver.market.hours == 21 and lag[0]:
            lag[0] -= 1
            return iter(())
        return whole(symbol, timeframe, since, until)

    driver.market.bars = lagging  # type: ignore[method-assign]

    assert printed(11, 30) == driver.closes(20)
    assert lag == [0]


def test_a_clock_that_lags_behind_the_stream_is_not_hammered() -> None:
    """Nothing was heard of one hour, all of the next, and by REST's clock neither is over yet: it is asked again after a pause."""
    driver = Driver(silent=frozenset((symbol, 20) for symbol in SYMBOLS))
    late, clock, asked = [3], driver.market.closed_until, [0]

    def lagging(timeframe: Timeframe) -> datetime:
        behind = driver.market.hours >= 21 and late[0] > 0
        late[0] -= behind
        asked[0] += driver.market.hours == 22
        return clock(timeframe) if not behind else T0 + 20 * HOUR

    driver.market.closed_until = lagging  # type: ignore[method-assign]

    assert printed(11, 30) == driver.closes(20)
    assert asked[0] <= 3


def test_fewer_bars_than_asked_for_the_warm_up_are_named(logged: list[str]) -> None:
    assert 10 == len(hours_of(feed(Market(10), Window(1)).history(500, None)))
    assert "history.shortened" in logged


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", ["freeze", "close"])
def test_a_real_exchange_that_freezes_or_cuts_its_streams_loses_nothing(practice_exchange: Callable[..., dict[str, Any]], fault: str) -> None:
    """A real process and a real websocket: every bar the exchange printed is delivered once, in order, and the stream is joined again."""
    greeting = practice_exchange("--seed", "3", "--symbols", "A/USDT,B/USDT", "--history-bars", "250", "--stream-bars", "200")
    config = constructor_config(greeting["rest"], greeting["ws"], greeting["api_key"], greeting["secret"])
    source, faults = ExchangeSource(ccxt.binance(config)), {10: fault, 20: "thaw"}
    advanced, rejoined = [0], []

    def advance() -> None:
        advanced[0] += 1
        if advanced[0] in faults:
            post(f"{greeting['admin']}/streams/{faults[advanced[0]]}")
        post(f"{greeting['admin']}/advance", {"bars": 1})

    streamed = StreamedFeed(source, lambda: ccxt.pro.binance(config), SYMBOLS, Timeframe.H1, Window(60, advance=advance))
    streamed.on_reconnect = lambda: rejoined.append(advanced[0])
    events = list(streamed.events(None))

    bars = pl.concat([page for symbol in SYMBOLS for page in source.bars(symbol, Timeframe.H1, streamed.opened_at, events[-1].closed_at)])
    assert list(StoredFeed(bars).events(None)) == events
    assert rejoined


def post(url: str, body: dict[str, Any] | None = None) -> None:
    request = urllib.request.Request(url, json.dumps(body or {}).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_market_that_flows_by_itself_is_followed(practice_exchange: Callable[..., dict[str, Any]]) -> None:
    """A real exchange process, two hourly bars a second, a real websocket: consecutive bars, none twice, none missing that the exchange printed."""
    greeting = practice_exchange("--seed", "3", "--symbols", "A/USDT,B/USDT", "--history-bars", "250", "--stream-bars", "200", "--speed", "7200")
    config = constructor_config(greeting["rest"], greeting["ws"], greeting["api_key"], greeting["secret"])
    source = ExchangeSource(ccxt.binance(config))
    streamed = StreamedFeed(source, lambda: ccxt.pro.binance(config), ("A/USDT", "B/USDT"), Timeframe.H1, Window(6))

    events = list(streamed.events(None))

    printed = pl.concat([page for symbol in ("A/USDT", "B/USDT") for page in source.bars(symbol, Timeframe.H1, streamed.opened_at, events[-1].closed_at)])
    assert events == list(StoredFeed(printed).events(None))
    assert len(events) == 6
