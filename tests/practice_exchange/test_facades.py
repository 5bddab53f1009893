"""Kraken's and Coinbase's faces of the practice market, read by unmodified ccxt: what they tell is what the market itself tells."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import ccxt
import pytest

from desk.execution.ccxt_settings import facade_config
from tests.practice_exchange.conftest import ROOT, Serving

SYMBOLS = ["BTC/USDT", "ETH/USDT"]
HISTORY = 1000
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def serving(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 5, "--symbols", ",".join(SYMBOLS), "--history-bars", HISTORY, "--stream-bars", 20, "--facades", "kraken,coinbase")


@pytest.fixture(scope="module", params=["kraken", "coinbase"])
def face(request: pytest.FixtureRequest, serving: Serving) -> Any:
    client = getattr(ccxt, request.param)(facade_config(request.param, serving.greeting["facades"][request.param]))
    client.load_markets()
    return client


def test_the_same_symbols_are_listed_on_the_same_grid(serving: Serving, face: Any) -> None:
    theirs = {symbol: serving.client.market(symbol) for symbol in SYMBOLS}

    assert SYMBOLS == sorted(face.markets)
    for symbol, market in theirs.items():
        assert market["precision"]["price"] == face.market(symbol)["precision"]["price"]
        assert market["precision"]["amount"] == face.market(symbol)["precision"]["amount"]
        assert 5 == face.market(symbol)["limits"]["cost"]["min"]


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_candles_are_those_of_the_market(serving: Serving, face: Any, symbol: str, timeframe: str) -> None:
    since = serving.client.fetch_time() - 250 * HOUR_MS

    assert serving.client.fetch_ohlcv(symbol, timeframe, since, 50) == face.fetch_ohlcv(symbol, timeframe, since, 50)


def test_the_clock_is_the_markets_to_the_second(serving: Serving, face: Any) -> None:
    assert serving.client.fetch_time() // 1000 == face.fetch_time() // 1000


def test_trades_are_those_of_the_market(serving: Serving, face: Any) -> None:
    ours = serving.client.fetch_trades(SYMBOLS[0], limit=8)

    theirs = face.fetch_trades(SYMBOLS[0], limit=8)

    assert [(each["price"], each["amount"]) for each in ours] == [(each["price"], each["amount"]) for each in theirs]
    assert [each["timestamp"] for each in ours] == pytest.approx([each["timestamp"] for each in theirs], abs=1)


def test_the_book_and_the_ticker_are_those_of_the_market(serving: Serving, face: Any) -> None:
    ours, theirs = serving.client.fetch_order_book(SYMBOLS[0], 5), face.fetch_order_book(SYMBOLS[0], 5)

    assert [row[:2] for row in ours["bids"]] == [row[:2] for row in theirs["bids"]]
    assert [row[:2] for row in ours["asks"]] == [row[:2] for row in theirs["asks"]]
    ticker = face.fetch_ticker(SYMBOLS[0])
    assert (theirs["bids"][0][0], theirs["asks"][0][0]) == (ticker["bid"], ticker["ask"])


def test_an_unknown_symbol_is_refused_as_there(serving: Serving) -> None:
    faces = serving.greeting["facades"]
    with urllib.request.urlopen(f"{faces['kraken']}/0/public/OHLC?pair=NOSUCH", timeout=10) as answer:
        kraken = json.load(answer)

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{faces['coinbase']}/api/v3/brokerage/market/products/NO-SUCH", timeout=10)

    assert ["EQuery:Unknown asset pair"] == kraken["error"]
    assert 404 == refused.value.code
    assert "NOT_FOUND" == json.load(refused.value)["error"]


def test_krakens_candles_reach_back_720_and_no_further(serving: Serving) -> None:
    """Asked for the beginning of the market, Kraken answers with its end: a client that does not look has a hole."""
    client = ccxt.kraken(facade_config("kraken", serving.greeting["facades"]["kraken"]))
    begin = serving.client.fetch_time() - HISTORY * HOUR_MS

    rows = client.fetch_ohlcv(SYMBOLS[0], "1h", begin, 5000)

    assert 720 == len(rows)
    assert rows[0][0] > begin


def test_coinbase_refuses_a_span_of_more_than_350_candles(serving: Serving) -> None:
    url, now = serving.greeting["facades"]["coinbase"], serving.client.fetch_time() // 1000
    span = f"start={now - 400 * 3600}&end={now}&granularity=ONE_HOUR"

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/api/v3/brokerage/market/products/BTC-USDT/candles?{span}", timeout=10)

    assert 400 == refused.value.code
    assert "INVALID_ARGUMENT" == json.load(refused.value)["error"]


def test_a_face_that_nobody_has_is_refused_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "desk.practice_exchange", "--facades", "bitmex"], capture_output=True, text=True, cwd=ROOT, timeout=20, check=False
    )

    assert 2 == done.returncode
    assert "kraken, coinbase" in done.stderr
