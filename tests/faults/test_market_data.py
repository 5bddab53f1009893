"""Rows 57 to 62: candles that are not closed, not there, cut off, or of a symbol that is no more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.errors import DeskError, SourceStale
from desk.market.exchange_source import ExchangeSource
from tests.faults.catalogue import Row
from tests.faults.conftest import SYMBOL, Desk, Exchange

pytestmark = pytest.mark.timeout(60)
HOUR = Timeframe.H1.delta


def stored(exchange: Exchange, bars: int, page: int = 1000) -> pl.DataFrame:
    """The last bars over REST."""
    source = ExchangeSource(exchange.fresh_client(), page_limit=page)
    until = source.closed_until(Timeframe.H1)
    return pl.concat(source.bars(SYMBOL, Timeframe.H1, until - bars * HOUR, until))


@pytest.mark.row(57)
def test_the_candle_that_forms_is_never_traded_on(desk: Desk, row: Row) -> None:
    """The frame that would have closed a bar is lost, those of the forming one go on: what was traded is what REST says was closed."""
    desk.midway = row.faults

    desk.survive(4)

    traded = [step.closes[SYMBOL] for step in desk.journalled()]
    assert stored(desk.exchange, 4)["close"].to_list() == traded
    desk.agrees()


@pytest.mark.row(58)
def test_missing_candles_are_missing_and_nothing_is_made_up(practice_exchange: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """Three hours of a recorded tape are not there, as after an outage: no step and no order then, and trading goes on where bars do."""
    first = datetime(2023, 1, 1, tzinfo=UTC)
    hours = [hour for hour in range(90) if not 64 <= hour < 67]
    close = [30_000.0 + 100 * (hour % 7) for hour in hours]
    prices = {"open": close, "high": [price + 50 for price in close], "low": [price - 50 for price in close], "close": close, "volume": [1000.0] * len(close)}
    keys = {"symbol": SYMBOL, "timeframe": "1h", "open_time": [first + hour * HOUR for hour in hours]}
    tape = pl.DataFrame({**keys, **prices}).with_columns(pl.lit(SYMBOL).alias("symbol"), pl.col("open_time").cast(pl.Datetime("us", "UTC")))
    tape.write_parquet(tmp_path / "tape.parquet")
    exchange = Exchange(practice_exchange("--candles", tmp_path / "tape.parquet", "--history-bars", "60", "--stream-bars", "25"))
    desk = Desk(exchange, tmp_path, "outage")

    desk.survive(8)

    times = [step.closed_at for step in desk.journalled()]
    assert [4 * HOUR] == [gap for gap in map(lambda a, b: b - a, times[:-1], times[1:]) if gap != HOUR]
    desk.agrees()


@pytest.mark.row(59)
def test_no_closed_candle_is_dropped_with_the_forming_one(desk: Desk) -> None:
    """At the boundary itself there is no forming bar: the newest row of the answer is closed, and is there."""
    desk.exchange.advance()
    source = ExchangeSource(desk.exchange.fresh_client())
    until = source.closed_until(Timeframe.H1)

    found = stored(desk.exchange, 10)

    assert 10 == len(found)
    assert until - HOUR == found["open_time"].max()


@pytest.mark.row(60)
def test_a_history_shorter_than_the_warm_up_trades_nothing_before_it_is_warm(practice_exchange: Callable[..., dict[str, Any]], tmp_path: Any) -> None:
    exchange = Exchange(practice_exchange("--seed", "19", "--symbols", SYMBOL, "--history-bars", "5", "--stream-bars", "40"))
    desk = Desk(exchange, tmp_path, "short", policy=Patient())

    desk.survive(4)
    cold = len(desk.accepted())
    desk.survive(8)

    assert 0 == cold < len(desk.accepted())
    desk.agrees()


class Patient:
    """In and out, once it has seen ten closes."""

    warmup_bars = 10

    def target(self, view: Any) -> float:
        assert 10 == len(view.closes)
        return 0.0 if view.previous > 0 else 1.0


@pytest.mark.row(61)
def test_a_page_that_is_cut_raises_and_a_second_reading_is_whole(desk: Desk, row: Row) -> None:
    whole = stored(desk.exchange, 50, page=20)
    desk.exchange.plan(*row.faults)

    with pytest.raises(DeskError):
        stored(desk.exchange, 50, page=20)

    assert 1 == desk.exchange.struck()
    assert whole.equals(stored(desk.exchange, 50, page=20))
    assert [timedelta(hours=1)] == whole["open_time"].diff().drop_nulls().unique().to_list()


@pytest.mark.row(62)
def test_a_delisted_symbol_is_neither_sold_at_nothing_nor_traded_on(practice_exchange: Callable[..., dict[str, Any]], tmp_path: Path, row: Row) -> None:
    """Its book is empty and its price 0, while we hold some of it: no order is sent on such a price, and the desk ends with a word for it. The tape
    is short: a market that we drive may leave out bars, so that only its end, two bars later, is a silence.
    """
    exchange = Exchange(practice_exchange("--seed", "23", "--symbols", SYMBOL, "--history-bars", "30", "--stream-bars", "5"))
    desk = Desk(exchange, tmp_path, "delisted", trading=TradingSettings(protective_stop=0.5))
    desk.trade(3)
    sent, held = {each["clientOrderId"] for each in desk.accepted()}, exchange.holds()
    exchange.plan(*row.faults)

    desk.patience_s = 0.3
    with pytest.raises(SourceStale, match="found no bar"):
        desk.trade(1)

    assert sent == {each["clientOrderId"] for each in desk.accepted()}
    assert held == exchange.holds() > 0
