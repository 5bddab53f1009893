"""A streamed feed delivers every closed bar once, whatever the stream does."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ccxt
import ccxt.pro
import polars as pl
import pytest

from configs.vocabulary import Timeframe
from desk.errors import SourceStale
from desk.execution.ccxt_settings import constructor_config
from desk.market.exchange_source import ExchangeSource
from desk.market.stored_feed import StoredFeed
from desk.market.streamed_feed import StreamedFeed, Window
from tests.listening import Heard
from tests.market.stream_stage import HOUR, SYMBOLS, T0, Market, Stream, hours_of


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


def test_fewer_bars_than_asked_for_the_warm_up_are_named(heard: list[Heard]) -> None:
    assert 10 == len(hours_of(feed(Market(10), Window(1)).history(500, None)))
    assert "history.shortened" in [each.event for each in heard]


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
