"""A stored feed replays history as it happened, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from desk.errors import ContractBroken
from desk.market.stored_feed import StoredFeed

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def frame(rows: list[tuple[str, int]], timeframe: str = "1h") -> pl.DataFrame:
    """Bars of (symbol, hour), every number derived from the hour."""
    times = pl.Series("open_time", [T0 + hour * HOUR for _, hour in rows], dtype=pl.Datetime("us", "UTC"))
    numbers = {name: [float(hour + i) for _, hour in rows] for i, name in enumerate(("open", "high", "low", "close", "volume"))}
    return pl.DataFrame({"symbol": [symbol for symbol, _ in rows], "timeframe": timeframe}).with_columns(times).with_columns(pl.DataFrame(numbers))


HOLED = frame([("B", 0), ("A", 0), ("A", 1), ("B", 3), ("A", 3), ("A", 4), ("B", 4)])


def test_bars_that_close_together_are_one_event_in_symbol_order() -> None:
    events = list(StoredFeed(HOLED).events(None))

    assert [(event.closed_at, [bar.symbol for bar in event.bars]) for event in events] == [
        (T0 + 1 * HOUR, ["A", "B"]),
        (T0 + 2 * HOUR, ["A"]),
        (T0 + 4 * HOUR, ["A", "B"]),
        (T0 + 5 * HOUR, ["A", "B"]),
    ]
    assert {bar.closed_at for event in events for bar in event.bars} == {event.closed_at for event in events}
    bar = events[2].bars[1]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (3.0, 4.0, 5.0, 6.0, 7.0)


def test_events_go_on_after_the_last_one_seen() -> None:
    feed = StoredFeed(HOLED)

    assert [event.closed_at for event in feed.events(T0 + 2 * HOUR)] == [T0 + 4 * HOUR, T0 + 5 * HOUR]
    assert [event.closed_at for event in feed.events(T0 + 3 * HOUR)] == [T0 + 4 * HOUR, T0 + 5 * HOUR]
    assert list(feed.events(T0 + 5 * HOUR)) == []


@pytest.mark.parametrize(("bars", "until", "expected"), [(1, 4, [4]), (2, 4, [2, 4]), (9, 3, [1, 2]), (3, 0, [])])
def test_history_is_the_last_events_up_to_an_instant(bars: int, until: int, expected: list[int]) -> None:
    events = StoredFeed(HOLED).history(bars, T0 + until * HOUR)

    assert [event.closed_at for event in events] == [T0 + hour * HOUR for hour in expected]


def test_history_and_events_meet_at_the_start_without_overlap() -> None:
    feed = StoredFeed(HOLED, start=T0 + 2 * HOUR)

    history = [event.closed_at for event in feed.history(10, None)]
    traded = [event.closed_at for event in feed.events(None)]

    assert history == [T0 + 1 * HOUR, T0 + 2 * HOUR]
    assert traded == [T0 + 4 * HOUR, T0 + 5 * HOUR]
    assert feed.opened_at == T0 + 3 * HOUR


def test_bars_of_two_lengths_are_refused() -> None:
    mixed = pl.concat([frame([("A", 0)]), frame([("A", 0)], "4h")])

    with pytest.raises(ContractBroken, match=r"\['1h', '4h'\]"):
        StoredFeed(mixed)
