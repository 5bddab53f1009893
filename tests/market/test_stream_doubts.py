"""The stream is a hint: what it tells is an event only where nothing is in doubt, and every doubt is settled by REST."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import polars as pl

from configs.vocabulary import Timeframe
from desk.market.streamed_feed import StreamedFeed, Window
from tests.listening import Heard
from tests.market.stream_stage import HOUR, SYMBOLS, T0, Market, Stream, hours_of


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


def test_a_candle_called_final_before_its_close_is_not_believed(heard: list[Heard]) -> None:
    driver = Driver()
    driver.script = {20: lambda: driver.stream.tell("A/USDT", 20, price=7.0, at_hour=20)}

    assert printed(11, 30) == driver.closes(20)
    assert "stream.doubted" in [each.event for each in heard]


def test_a_frame_that_is_lost_costs_a_moment_and_not_a_bar() -> None:
    """Lost for one symbol, then for all: what is missing is asked for, and nothing else is delivered before it."""
    driver = Driver(silent=frozenset({("A/USDT", 20), ("A/USDT", 25), ("B/USDT", 25)}))

    assert printed(11, 30) == driver.closes(20)


def test_a_stream_that_stops_telling_is_connected_again(heard: list[Heard]) -> None:
    """The socket lives, but its frames stop: after two closes that only REST knows it is given up. No bar is lost, and the book is told."""
    driver = Driver(silent=frozenset((symbol, hour) for symbol in SYMBOLS for hour in range(20, 25)))
    streamed, rejoined = driver.feed(40), []
    streamed.on_reconnect = lambda: rejoined.append((driver.market.hours, threading.current_thread()))

    hours = hours_of(streamed.events(None))

    assert list(range(11, 51)) == hours
    assert "stream.reconnected" in [each.event for each in heard]
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


def test_a_stream_that_tells_otherwise_than_rest_is_not_believed_any_more(heard: list[Heard]) -> None:
    """The first event of a connection is verified; from a difference on every event is read over REST, and an error says so."""
    driver = Driver(silent=frozenset((symbol, hour) for symbol in SYMBOLS for hour in range(10, 15)))
    driver.script = {hour: (lambda hour=hour: [driver.stream.tell(symbol, hour, price=3.0) for symbol in SYMBOLS]) for hour in range(10, 15)}

    assert printed(11, 30) == driver.closes(20)
    assert "stream.diverged" in [each.event for each in heard]


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
