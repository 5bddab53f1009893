"""What the public sees, through unmodified ccxt: cut at the market clock, whole, and exactly as the tape has it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import ccxt
import ccxt.async_support
import numpy as np
import pytest

from configs.vocabulary import Timeframe
from desk.practice_exchange.synthetic import SyntheticMarket
from tests.practice_exchange.conftest import Serving

START = datetime(2023, 1, 1, tzinfo=UTC)
HOUR_MS = Timeframe.H1.milliseconds
HISTORY = 2500
TAPE = SyntheticMarket(7, ("BTC/USDT", "XRP/USDT"), Timeframe.H1, int(START.timestamp() * 1000), HISTORY, 40).tape()
SYMBOL = "BTC/USDT"
UNTIL_MS = TAPE.history_until_ms


@pytest.fixture(scope="module")
def exchange(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 7, "--symbols", "BTC/USDT,XRP/USDT", "--history-bars", HISTORY, "--stream-bars", 40, "--start", START.isoformat())


def get(exchange: Serving, path: str) -> Any:
    with urllib.request.urlopen(exchange.greeting["rest"] + path, timeout=10) as answer:
        return json.load(answer)


def test_the_greeting_names_the_market(exchange: Serving) -> None:
    market = exchange.market

    assert TAPE.hash == market["hash"]
    assert ["BTC/USDT", "XRP/USDT"] == market["symbols"]
    assert datetime.fromtimestamp(UNTIL_MS / 1000, UTC) == datetime.fromisoformat(market["history_until"]) == datetime.fromisoformat(market["now"])
    assert (True, 7, "1h") == (market["synthetic"], market["seed"], market["timeframe"])
    assert exchange.admin("/market") == market


def test_markets_have_the_listed_grid(exchange: Serving) -> None:
    market = exchange.client.markets[SYMBOL]

    assert (0.01, 0.00001) == (market["precision"]["price"], market["precision"]["amount"])
    assert 5 == market["limits"]["cost"]["min"]
    assert market["active"]
    assert market["spot"]


def test_time_is_the_markets(exchange: Serving) -> None:
    assert UNTIL_MS == exchange.client.fetch_time()


def test_paging_brings_the_whole_history_without_a_gap_of_its_own(exchange: Serving) -> None:
    cursor, rows = TAPE.starts_at_ms, []
    while cursor < UNTIL_MS:
        page = exchange.client.fetch_ohlcv(SYMBOL, "1h", cursor, 1000)
        rows += page
        cursor = page[-1][0] + HOUR_MS

    closed = np.array([row for row in rows if row[0] + HOUR_MS <= UNTIL_MS])
    candles = TAPE.candles[SYMBOL].rows(0, TAPE.candles[SYMBOL].before(UNTIL_MS))
    np.testing.assert_array_equal(np.column_stack(candles.columns()), closed)


def test_the_last_candle_is_the_forming_one_and_shows_its_open_only(exchange: Serving) -> None:
    *_, before, last = exchange.client.fetch_ohlcv(SYMBOL, "1h", None, 5)
    opened = float(TAPE.candles[SYMBOL].open[TAPE.candles[SYMBOL].before(UNTIL_MS)])

    assert UNTIL_MS - HOUR_MS == before[0]
    assert [UNTIL_MS, opened, opened, opened, opened, 0.0] == last


def test_a_range_that_ends_earlier_has_no_forming_candle(exchange: Serving) -> None:
    rows = exchange.client.fetch_ohlcv(SYMBOL, "1h", UNTIL_MS - 3 * HOUR_MS, 10, {"until": UNTIL_MS - 1})

    assert [UNTIL_MS - 3 * HOUR_MS, UNTIL_MS - 2 * HOUR_MS, UNTIL_MS - HOUR_MS] == [row[0] for row in rows]


def test_nothing_of_the_future_is_shown(exchange: Serving) -> None:
    later = get(exchange, f"/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime={UNTIL_MS + HOUR_MS}")
    trades = get(exchange, f"/api/v3/aggTrades?symbol=BTCUSDT&startTime={UNTIL_MS}")

    assert ([], []) == (later, trades)


def test_a_page_has_at_most_a_thousand_rows(exchange: Serving) -> None:
    assert 1000 == len(get(exchange, "/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=5000"))
    assert 500 == len(get(exchange, "/api/v3/klines?symbol=BTCUSDT&interval=1h"))


def test_longer_candles_are_made_of_the_short_ones(exchange: Serving) -> None:
    hours = exchange.client.fetch_ohlcv(SYMBOL, "1h", UNTIL_MS - UNTIL_MS % (4 * HOUR_MS) - 4 * HOUR_MS, 4)

    longer = exchange.client.fetch_ohlcv(SYMBOL, "4h", None, 2)[0]

    assert [hours[0][0], hours[0][1], max(row[2] for row in hours), min(row[3] for row in hours), hours[-1][4]] == longer[:5]
    assert sum(row[5] for row in hours) == pytest.approx(longer[5])


@pytest.mark.parametrize("interval", ["1m", "1w", "7h"])
def test_other_lengths_are_refused(exchange: Serving, interval: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(exchange, f"/api/v3/klines?symbol=BTCUSDT&interval={interval}")

    assert {"code": -1120, "msg": "Invalid interval."} == json.load(refused.value)


def test_the_book_is_ordered_and_around_the_open(exchange: Serving) -> None:
    book = exchange.client.fetch_order_book(SYMBOL, 100)
    opened = exchange.client.fetch_ohlcv(SYMBOL, "1h", None, 1)[0][1]

    assert sorted(book["asks"]) == book["asks"]
    assert sorted(book["bids"], reverse=True) == book["bids"]
    assert book["bids"][0][0] < opened < book["asks"][0][0]


def test_trades_lie_within_their_candles(exchange: Serving) -> None:
    candle = exchange.client.fetch_ohlcv(SYMBOL, "1h", UNTIL_MS - HOUR_MS, 1)[0]

    trades = exchange.client.fetch_trades(SYMBOL, UNTIL_MS - HOUR_MS, 100)

    prices = [trade["price"] for trade in trades]
    assert [candle[1], candle[4], candle[2], candle[3]] == [prices[0], prices[-1], max(prices), min(prices)]
    assert all(candle[0] <= trade["timestamp"] < candle[0] + HOUR_MS for trade in trades)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(candle[5], abs=1e-6)


def test_the_ticker_tells_the_last_day(exchange: Serving) -> None:
    day = exchange.client.fetch_ohlcv(SYMBOL, "1h", UNTIL_MS - 24 * HOUR_MS, 25)

    ticker = exchange.client.fetch_ticker(SYMBOL)

    assert (day[0][1], day[-1][1]) == (ticker["open"], ticker["last"])
    assert (max(row[2] for row in day), min(row[3] for row in day)) == (ticker["high"], ticker["low"])
    assert set(TAPE.candles) == set(exchange.client.fetch_tickers())


@pytest.mark.asyncio
async def test_the_async_client_reads_the_same(exchange: Serving) -> None:
    client = ccxt.async_support.binance(exchange.config())
    try:
        await client.load_markets()

        assert exchange.client.fetch_ohlcv(SYMBOL, "1h", None, 3) == await client.fetch_ohlcv(SYMBOL, "1h", None, 3)
    finally:
        await client.close()


def test_every_answer_says_what_this_is_and_what_it_weighed(exchange: Serving) -> None:
    with urllib.request.urlopen(exchange.greeting["rest"] + "/api/v3/exchangeInfo", timeout=10) as answer:
        assert "1" == answer.headers["X-Practice-Exchange"]
        assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) >= 20
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(exchange, "/api/v3/nothing")

    assert (404, "1") == (refused.value.code, refused.value.headers["X-Practice-Exchange"])


def test_too_much_weight_is_answered_429(serve: Callable[..., Serving]) -> None:
    exchange = serve("--symbols", SYMBOL, "--history-bars", 10, "--stream-bars", 5, "--weight-limit", 60)
    exchange.client.fetch_balance()
    exchange.client.fetch_balance()

    with pytest.raises(ccxt.DDoSProtection, match="-1003"):
        exchange.client.fetch_balance()

    assert 0 < int(exchange.client.last_response_headers["Retry-After"]) <= 60


def test_market_time_that_moves_on_begins_a_new_minute_of_weight(serve: Callable[..., Serving]) -> None:
    """A market driven bar by bar must not charge its hours to one minute of the wall."""
    exchange = serve("--symbols", SYMBOL, "--history-bars", 10, "--stream-bars", 20, "--weight-limit", 60)

    for _ in range(10):
        exchange.client.fetch_balance()
        assert 1 == exchange.advance(1)["advanced"]


def test_an_outage_is_a_gap_for_every_symbol(exchange: Serving) -> None:
    times = TAPE.candles[SYMBOL].times
    before = int(times[np.flatnonzero(np.diff(times) > HOUR_MS)[0]])

    opened = [[row[0] for row in exchange.client.fetch_ohlcv(symbol, "1h", before, 2)] for symbol in TAPE.candles]

    assert opened[0] == opened[1]
    assert opened[0][1] - opened[0][0] > HOUR_MS
