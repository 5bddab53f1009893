"""Ingest fetches only what is missing, from its own cursor, and makes no version when nothing is new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from configs.vocabulary import Timeframe
from desk.errors import SourceStale
from desk.instruments import Instrument
from desk.market.ingest import Wanted, ingest
from desk.market.lake import Lake

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class TapeSource:
    """A source with `bars` hours of BTC and ETH, two bars a page; remembers where it was asked from."""

    def __init__(self, bars: int) -> None:
        self.opened = [START + HOUR * number for number in range(bars)]
        self.asked: list[tuple[str, datetime]] = []

    def instruments(self) -> dict[str, Instrument]:
        return {}

    def closed_until(self, timeframe: Timeframe) -> datetime:
        return self.opened[-1] + timeframe.delta

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        self.asked.append((symbol, since))
        wanted = [moment for moment in self.opened if since <= moment and moment + timeframe.delta <= until]
        for first in range(0, len(wanted), 2):
            page = wanted[first : first + 2]
            prices = {name: [100.0] * len(page) for name in ("open", "high", "low", "close", "volume")}
            frame = pl.DataFrame({"symbol": [symbol] * len(page), "timeframe": [timeframe.value] * len(page), "open_time": page, **prices})
            yield frame.with_columns(pl.col("open_time").dt.cast_time_unit("us"))


def wanted(until: datetime) -> Wanted:
    return Wanted("bars_tape", ("BTC/USDT", "ETH/USDT"), Timeframe.H1, until)


def test_the_first_ingest_brings_every_bar_that_closed_in_time(tmp_path: Path) -> None:
    ref = ingest(TapeSource(7), Lake(tmp_path), wanted(START + 5 * HOUR))

    assert 10 == ref.rows
    assert (START, START + 4 * HOUR) == ref.span


def test_a_second_ingest_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), TapeSource(7)
    ingest(source, lake, wanted(START + 5 * HOUR))
    source.asked.clear()

    ref = ingest(source, lake, wanted(START + 7 * HOUR))

    assert [("BTC/USDT", START + 5 * HOUR), ("ETH/USDT", START + 5 * HOUR)] == source.asked
    assert 14 == ref.rows


def test_nothing_new_makes_no_new_version(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = ingest(TapeSource(5), lake, wanted(START + 5 * HOUR))

    again = ingest(TapeSource(5), lake, wanted(START + 5 * HOUR))

    assert first == again


def test_a_source_without_a_single_bar_is_stale_and_leaves_no_table(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    with pytest.raises(SourceStale, match="BTC/USDT, ETH/USDT"):
        ingest(TapeSource(1), lake, wanted(START))

    assert () == lake.history("raw/bars_tape")
