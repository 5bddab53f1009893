"""The pager over an exchange that answers as Binance does: at most 1000 candles, the last one still forming, nothing during an outage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import ccxt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.vocabulary import Timeframe
from data_contracts.bars import CONTRACT
from data_contracts.gate import Admitted, admit
from desk.errors import ContractBroken, Refused, Transient
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.gaps import find_gaps

MakeHours = Callable[..., pl.DataFrame]
HOUR_MS = 3_600_000
START = datetime(2024, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000
CAP = 1000


def at(hour: float) -> datetime:
    """An hour of 2024."""
    return START + timedelta(hours=hour)


class FakeExchange:
    """Candles of given hours, served like a venue does. `windowed`: only within [since, since + limit hours), as some venues answer."""

    def __init__(self, hours: set[int], now_hour: float, windowed: bool = False) -> None:
        self.hours, self.now_hour, self.windowed = hours, now_hour, windowed
        self.asked: list[int] = []

    def fetch_time(self) -> int:
        """The venue's clock, milliseconds."""
        return START_MS + int(self.now_hour * HOUR_MS)

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[Any]]:
        """Candles opened from `since` on, oldest first, the forming one included."""
        assert timeframe == "1h"
        self.asked.append(since)
        first = (since - START_MS) / HOUR_MS
        last = first + limit if self.windowed else float("inf")
        open_hours = sorted(hour for hour in self.hours if first <= hour < last and hour <= self.now_hour)[: min(limit, CAP)]
        return [[START_MS + hour * HOUR_MS, *self.candle(hour)] for hour in open_hours]

    @staticmethod
    def candle(hour: int) -> list[float]:
        """The same numbers as `make_hours`."""
        opened = 100.0 + hour % 13
        return [opened, opened + 2, opened - 1, opened + 1, float(hour % 7)]


def pages(exchange: FakeExchange, since: datetime, until: datetime, page_limit: int = CAP) -> list[pl.DataFrame]:
    """Every page of hourly BTC/USDT bars."""
    return list(ExchangeSource(exchange, page_limit).bars("BTC/USDT", Timeframe.H1, since, until))


class TestPaging:
    """No bar twice, none skipped, none that is not closed."""

    def test_many_pages_join_to_every_closed_bar(self, make_hours: MakeHours) -> None:
        found = pages(FakeExchange(set(range(5000)), 2500.5), at(0), at(9999))

        assert [1000, 1000, 500] == [page.height for page in found]
        assert make_hours(0, 2500).equals(pl.concat(found))
        assert all(isinstance(admit(page, CONTRACT), Admitted) for page in found)

    def test_the_forming_candle_is_dropped_by_its_close(self) -> None:
        [page] = pages(FakeExchange(set(range(10)), 5.99), at(0), at(100))

        assert at(4) == page["open_time"].max()

    def test_a_bar_that_closes_exactly_now_is_closed(self) -> None:
        [page] = pages(FakeExchange(set(range(10)), 6.0), at(0), at(100))

        assert at(5) == page["open_time"].max()

    def test_until_is_exact_and_since_is_rounded_up_to_the_grid(self, make_hours: MakeHours) -> None:
        [page] = pages(FakeExchange(set(range(100)), 99.0), at(2.5), at(8.5))

        assert make_hours(3, 8).equals(page)

    def test_nothing_new_asks_for_nothing(self) -> None:
        exchange = FakeExchange(set(range(100)), 50.2)

        assert [] == pages(exchange, at(50), at(80))
        assert [] == exchange.asked

    @pytest.mark.parametrize("windowed", [False, True])
    def test_an_outage_longer_than_pages_is_crossed(self, make_hours: MakeHours, windowed: bool) -> None:
        hours = set(range(100)) | set(range(731, 1200))
        exchange = FakeExchange(hours, 1100.0, windowed)

        found = pl.concat(pages(exchange, at(0), at(1100), page_limit=100))

        assert pl.concat([make_hours(0, 100), make_hours(731, 1100)]).equals(found)

    def test_a_symbol_without_any_bar_ends(self) -> None:
        assert [] == pages(FakeExchange(set(), 5000.0), at(0), at(5000))

    @settings(max_examples=60)
    @given(
        hours=st.sets(st.integers(0, 120)),
        now=st.floats(0, 130, allow_nan=False),
        since=st.floats(0, 120, allow_nan=False),
        until=st.floats(0, 140, allow_nan=False),
        page_limit=st.integers(1, 50),
        windowed=st.booleans(),
    )
    def test_whatever_the_holes_and_limits_the_bars_are_exactly_the_closed_ones_asked_for(
        self, hours: set[int], now: float, since: float, until: float, page_limit: int, windowed: bool
    ) -> None:
        found = pages(FakeExchange(hours, now, windowed), at(since), at(until), page_limit)

        expected = [at(hour) for hour in sorted(hours) if at(since) <= at(hour) and at(hour + 1) <= min(at(until), at(int(now)))]
        assert expected == [time for page in found for time in page["open_time"].to_list()]

    def test_rows_before_the_cursor_are_ignored(self, make_hours: MakeHours) -> None:
        """Some venues begin an answer with the candle before."""
        exchange = FakeExchange(set(range(20)), 15.0)
        answer = exchange.fetch_ohlcv
        exchange.fetch_ohlcv = lambda symbol, timeframe, since, limit: answer(symbol, timeframe, since - HOUR_MS, limit)  # type: ignore[method-assign]

        assert make_hours(5, 15).equals(pl.concat(pages(exchange, at(5), at(15), page_limit=4)))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[START_MS, 1, 2, 1, 2, 3], [START_MS, 1, 2, 1, 2, 3]], "to step forward in time"),
            ([[START_MS + HOUR_MS, 1, 2, 1, 2, 3], [START_MS, 1, 2, 1, 2, 3]], "found 2024-01-01 00:00:00.00:00 after 2024-01-01 01:00:00"),
            ([[START_MS, 1, 2]], r"as \[milliseconds, open, high, low, close, volume\], found \[1704067200000, 1, 2\]"),
        ],
    )
    def test_an_answer_out_of_order_or_shape_is_refused(self, rows: list[list[float]], message: str) -> None:
        exchange = FakeExchange(set(), 10.0)
        exchange.fetch_ohlcv = lambda symbol, timeframe, since, limit: rows  # type: ignore[method-assign]

        with pytest.raises(ContractBroken, match=message):
            pages(exchange, at(0), at(10))

    def test_a_number_the_venue_left_out_reaches_the_gate_as_a_hole(self) -> None:
        exchange = FakeExchange(set(), 10.0)
        exchange.fetch_ohlcv = lambda symbol, timeframe, since, limit: [[START_MS, 1, 2, 1, None, 3]] if since == START_MS else []  # type: ignore[method-assign]

        [page] = pages(exchange, at(0), at(10))

        assert page["close"].null_count() == 1


MARKET = {
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "precision": {"price": 0.01, "amount": 1e-05},
    "limits": {"amount": {"min": 1e-05}, "cost": {"min": 5.0}},
}


class Markets:
    """An exchange that only lists markets."""

    def __init__(self, *markets: dict[str, Any]) -> None:
        self.markets = {market["symbol"]: market for market in markets}

    def load_markets(self) -> dict[str, dict[str, Any]]:
        """The markets by symbol."""
        return self.markets


def test_instruments_carry_the_venues_grid_exactly() -> None:
    found = ExchangeSource(Markets(MARKET)).instruments()

    assert {"BTC/USDT": Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(5))} == found


@pytest.mark.parametrize("limits", [{}, {"cost": {"min": None}}, {"cost": {"min": float("nan")}}], ids=["no limits", "nothing", "not a number"])
def test_a_market_without_a_least_notional_has_none(limits: dict[str, Any]) -> None:
    found = ExchangeSource(Markets({**MARKET, "limits": limits})).instruments()

    assert Decimal(0) == found["BTC/USDT"].min_notional


@pytest.mark.parametrize("step", [None, 0.0, float("nan")])
def test_a_market_without_a_grid_is_refused(step: float | None) -> None:
    with pytest.raises(ContractBroken, match="Expected a price step above 0 for BTC/USDT, found"):
        ExchangeSource(Markets({**MARKET, "precision": {"price": step, "amount": 1e-05}})).instruments()


@pytest.mark.parametrize(("theirs", "ours"), [(ccxt.RateLimitExceeded, Transient), (ccxt.RequestTimeout, Transient), (ccxt.BadSymbol, Refused)])
def test_a_venues_refusal_says_what_the_caller_may_do(theirs: type[Exception], ours: type[Exception]) -> None:
    class Failing(FakeExchange):
        def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[Any]]:
            raise theirs("binance said no")

    with pytest.raises(ours, match="candles of BTC/USDT"):
        pages(Failing({0}, 5.0), at(0), at(5))


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_practice_exchange_hands_out_its_whole_history_over_the_wire(practice_exchange: Callable[..., dict[str, Any]]) -> None:
    """Unmodified ccxt, several pages, up to the last bar closed by the market clock; the forming one stays out."""
    from desk.execution.ccxt_settings import constructor_config

    history_bars = 2500
    hello = practice_exchange("--seed", "11", "--symbols", "BTC/USDT", "--timeframe", "1h", "--history-bars", str(history_bars))
    source = ExchangeSource(open_exchange(constructor_config(hello["rest"], hello["ws"], hello["api_key"], hello["secret"])))
    until = datetime.fromisoformat(hello["market"]["history_until"])

    bars = pl.concat(source.bars("BTC/USDT", Timeframe.H1, until - timedelta(hours=history_bars), until + timedelta(days=30)))

    assert until == source.closed_until(Timeframe.H1) == bars["open_time"].max() + timedelta(hours=1)
    assert history_bars == bars.height + find_gaps(bars)["missing_bars"].sum()
    assert isinstance(admit(bars, CONTRACT), Admitted)
