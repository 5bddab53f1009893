"""Where bars come from when an exchange is gone: from another that agrees, from nobody when none does, and never silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from configs.vocabulary import Timeframe
from desk.errors import NetworkDown, SourceStale
from desk.instruments import Instrument
from desk.market.fallback_source import OVERLAP_BARS, Fallback, FallbackSource, Handover

SYMBOL, H1 = "BTC/USDT", Timeframe.H1
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
PAGE = 50


@dataclass
class Shelf:
    """A source that has these bars, and is gone after so many pages; `back`: it answers again when asked for the time."""

    frame: pl.DataFrame
    pages: int = 1000
    back: bool = False
    asked: list[datetime] = field(default_factory=list)

    def instruments(self) -> dict[str, Instrument]:
        return {}

    def closed_until(self, timeframe: Timeframe) -> datetime:
        if self.pages <= 0 and not self.back:
            raise NetworkDown("expected an answer, found none")
        return BEGIN + timedelta(days=400)

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        self.asked.append(since)
        wanted = self.frame.filter(pl.col("open_time") >= since, pl.col("open_time") + timeframe.delta <= until)
        for first in range(0, max(wanted.height, 1), PAGE):
            if self.pages <= 0:
                raise NetworkDown("expected an answer, found none")
            self.pages -= 1
            yield wanted.slice(first, PAGE)


def hour(number: int) -> datetime:
    return BEGIN + timedelta(hours=number)


def scaled(frame: pl.DataFrame, factor: float) -> pl.DataFrame:
    return frame.with_columns(pl.col("open", "high", "low", "close") * factor)


def fetched(source: FallbackSource, since: int = 100, until: int = 200) -> pl.DataFrame:
    return pl.concat(source.bars(SYMBOL, H1, hour(since), hour(until)))


def behind(first: Shelf, known: pl.DataFrame, *others: Shelf) -> tuple[FallbackSource, list[Handover]]:
    told: list[Handover] = []
    named = [Fallback(f"other{number}", lambda shelf=shelf: shelf) for number, shelf in enumerate(others)]
    return FallbackSource(first, named, lambda symbol, before: known.filter(pl.col("open_time") < before), told.append), told


def test_while_the_first_exchange_answers_no_other_is_asked(make_hours: Callable[..., pl.DataFrame]) -> None:
    other = Shelf(make_hours(0, 200))
    source, told = behind(Shelf(make_hours(0, 200)), make_hours(0, 100), other)

    assert make_hours(100, 200).equals(fetched(source))
    assert ([], []) == (told, other.asked)


def test_the_rest_comes_from_another_that_agrees_and_is_told_of(make_hours: Callable[..., pl.DataFrame]) -> None:
    """Half a basis point apart is the same market. No bar comes twice, none is missing."""
    theirs = scaled(make_hours(0, 200), 1.00005)
    source, told = behind(Shelf(make_hours(0, 200), pages=1), make_hours(0, 100), Shelf(theirs))

    bars = fetched(source)

    assert make_hours(100, 200).get_column("open_time").equals(bars.get_column("open_time"))
    assert make_hours(100, 150).equals(bars.head(50))
    assert theirs.filter(pl.col("open_time") >= hour(150)).equals(bars.tail(50))
    assert [("other0", 50, OVERLAP_BARS)] == [(each.source, each.bars.height, each.compared) for each in told]
    assert 0.5 == pytest.approx(told[0].divergence_bps, rel=1e-3)


def test_stored_bars_are_compared_when_none_were_fetched(make_hours: Callable[..., pl.DataFrame]) -> None:
    source, told = behind(Shelf(make_hours(0, 200), pages=0), make_hours(0, 100), Shelf(make_hours(0, 200)))

    assert make_hours(100, 200).equals(fetched(source))
    assert 100 == told[0].bars.height


def test_one_failure_is_no_reason_to_turn_away(make_hours: Callable[..., pl.DataFrame]) -> None:
    """It answers again: the failure is for whoever retries."""
    other = Shelf(make_hours(0, 200))
    source, told = behind(Shelf(make_hours(0, 200), pages=1, back=True), make_hours(0, 100), other)

    with pytest.raises(NetworkDown):
        fetched(source)

    assert ([], []) == (told, other.asked)


@pytest.mark.parametrize("factor", [1.003, 0.88, float("nan")])
def test_one_that_differs_is_passed_over_for_the_next(make_hours: Callable[..., pl.DataFrame], factor: float) -> None:
    frame = make_hours(0, 200)
    source, told = behind(Shelf(frame, pages=0), make_hours(0, 100), Shelf(scaled(frame, factor)), Shelf(frame))

    assert make_hours(100, 200).equals(fetched(source))
    assert ["other1"] == [each.source for each in told]


def test_one_that_does_not_reach_back_far_enough_is_passed_over(make_hours: Callable[..., pl.DataFrame]) -> None:
    """As Kraken, which tells the newest candles whatever is asked: there would be a hole, or nothing to compare."""
    source, told = behind(Shelf(make_hours(0, 200), pages=0), make_hours(0, 100), Shelf(make_hours(90, 200)))

    with pytest.raises(SourceStale, match="found 10 of them there"):
        fetched(source)

    assert [] == told


def test_without_bars_of_our_own_nobody_stands_in(make_hours: Callable[..., pl.DataFrame]) -> None:
    source, told = behind(Shelf(make_hours(0, 200), pages=0), make_hours(0, 0), Shelf(make_hours(0, 200)))

    with pytest.raises(SourceStale, match="24 stored bars"):
        fetched(source, since=0)

    assert [] == told


def test_when_all_are_gone_each_is_named_with_its_reason(make_hours: Callable[..., pl.DataFrame]) -> None:
    gone = Shelf(make_hours(0, 200), pages=0)
    source, _ = behind(gone, make_hours(0, 100), gone, Shelf(scaled(make_hours(0, 200), 2.0)))

    with pytest.raises(SourceStale, match=r"other0: .*; other1: .*bps"):
        fetched(source)


def test_an_agreeing_exchange_without_news_is_not_told_of(make_hours: Callable[..., pl.DataFrame]) -> None:
    source, told = behind(Shelf(make_hours(0, 200), pages=0), make_hours(0, 100), Shelf(make_hours(0, 100)))

    assert [] == list(source.bars(SYMBOL, H1, hour(100), hour(200)))
    assert [] == told
