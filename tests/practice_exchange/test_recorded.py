"""Recorded candles as a tape: split by time, refused when unsound, and printed exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import ccxt
import numpy as np
import polars as pl
import pytest

from desk.practice_exchange.recorded import Selection, recorded_tape
from desk.practice_exchange.refusals import Misuse
from tests.practice_exchange.conftest import Serving

HOUR_MS = 3_600_000
START_MS = 1_600_000_000_000 - 1_600_000_000_000 % HOUR_MS
ALL = Selection(None, None, None, None, None, 0.25)


def frame(bars: int = 100, symbol: str = "BTC/USDT", timeframe: str = "1h") -> pl.DataFrame:
    prices = 20_000 + np.arange(bars, dtype=float)
    times = START_MS + HOUR_MS * np.arange(bars)
    columns = {"open": prices, "high": prices + 2, "low": prices - 2, "close": prices + 1, "volume": np.full(bars, 3.5)}
    return pl.DataFrame({"symbol": symbol, "timeframe": timeframe, "open_time": times, **columns})


def written(folder: Path, *frames: pl.DataFrame) -> list[Path]:
    paths = [folder / f"{number}.parquet" for number in range(len(frames))]
    for path, each in zip(paths, frames, strict=True):
        each.write_parquet(path)
    return paths


def test_the_newest_share_of_the_bars_is_kept_back(tmp_path: Path) -> None:
    tape = recorded_tape(written(tmp_path, frame()), ALL)

    assert START_MS + 75 * HOUR_MS == tape.history_until_ms
    assert START_MS + 100 * HOUR_MS == tape.ends_at_ms
    assert tape.seed is None


def test_a_number_of_bars_wins_over_the_share(tmp_path: Path) -> None:
    tape = recorded_tape(written(tmp_path, frame()), replace(ALL, stream_bars=10, history_bars=20))

    assert START_MS + 90 * HOUR_MS == tape.history_until_ms
    assert START_MS + 70 * HOUR_MS == tape.starts_at_ms


def test_times_and_milliseconds_are_the_same_tape(tmp_path: Path) -> None:
    timed = frame().with_columns(pl.from_epoch("open_time", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
    (tmp_path / "timed").mkdir()

    assert recorded_tape(written(tmp_path, frame()), ALL).hash == recorded_tape(written(tmp_path / "timed", timed), ALL).hash


def test_several_files_are_one_tape(tmp_path: Path) -> None:
    tape = recorded_tape(written(tmp_path, frame(), frame(symbol="ETH/USDT")), ALL)

    assert ["BTC/USDT", "ETH/USDT"] == sorted(tape.candles)


UNSOUND: list[tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = [
    (lambda sound: sound.drop("volume"), "rename or add volume"),
    (lambda sound: sound.with_columns(high=pl.col("low")), "sound candles"),
    (lambda sound: sound.with_columns(close=pl.lit(float("nan"))), "sound candles"),
    (lambda sound: sound.with_columns(volume=pl.lit(-1.0)), "sound candles"),
    (lambda sound: sound.with_columns(open_time=pl.col("open_time") + 1), "sound candles"),
    (lambda sound: pl.concat([sound, sound]), "twice"),
    (lambda sound: sound.with_columns(symbol=pl.lit("BTCUSDT")), "BASE/QUOTE"),
    (lambda sound: sound.with_columns(timeframe=pl.lit("7h")), "one timeframe"),
    (lambda sound: sound.with_columns(open=pl.lit("dear")), "text"),
    (lambda sound: sound.with_columns(open_time=pl.lit("noon")), "open_time"),
    (lambda sound: sound.head(1), "longer file"),
]


@pytest.mark.parametrize(("spoil", "complaint"), UNSOUND, ids=[complaint for _, complaint in UNSOUND])
def test_unsound_candles_are_refused(tmp_path: Path, spoil: Callable[[pl.DataFrame], pl.DataFrame], complaint: str) -> None:
    with pytest.raises(Misuse, match=complaint):
        recorded_tape(written(tmp_path, spoil(frame())), ALL)


def test_a_symbol_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="DOGE/USDT"):
        recorded_tape(written(tmp_path, frame()), replace(ALL, symbols=("DOGE/USDT",)))


def test_a_symbol_without_a_bar_is_closed_and_silent(serve: Callable[..., Serving], tmp_path: Path) -> None:
    """A gap is no bar: no candle, no frame, no trading - and the other symbols go on."""
    late = frame(symbol="ETH/USDT").filter(pl.col("open_time") != START_MS + 75 * HOUR_MS)
    exchange = serve("--candles", *written(tmp_path, frame(), late), "--stream-share", 0.25)

    with pytest.raises(ccxt.MarketClosed):
        exchange.client.create_order("ETH/USDT", "market", "buy", "0.1")
    assert START_MS + 74 * HOUR_MS == exchange.client.fetch_ohlcv("ETH/USDT", "1h")[-1][0]
    assert START_MS + 75 * HOUR_MS == exchange.client.fetch_ohlcv("BTC/USDT", "1h")[-1][0]
    assert {"bids": [], "asks": []} == {side: exchange.client.fetch_order_book("ETH/USDT")[side] for side in ("bids", "asks")}

    exchange.advance(1)

    assert "closed" == exchange.client.create_order("ETH/USDT", "market", "buy", "0.01")["status"]


def test_a_symbol_is_unknown_before_its_first_bar(serve: Callable[..., Serving], tmp_path: Path) -> None:
    """Nothing of a listing to come may be seen, not even its name."""
    late = frame(symbol="ETH/USDT").filter(pl.col("open_time") > START_MS + 75 * HOUR_MS)
    exchange = serve("--candles", *written(tmp_path, frame(), late), "--stream-share", 0.25)
    before = exchange.client.load_markets()
    with pytest.raises(ccxt.BadSymbol):
        exchange.client.public_get_ticker_24hr({"symbol": "ETHUSDT"})

    exchange.advance(1)

    assert ["BTC/USDT"] == list(before)
    assert ["BTC/USDT", "ETH/USDT"] == sorted(exchange.client.load_markets(True))
    assert {"BTC/USDT", "ETH/USDT"} == set(exchange.client.fetch_tickers())


@pytest.mark.data
def test_half_a_million_real_candles_are_served_exactly_and_at_once(serve: Callable[..., Serving], real_data: Path) -> None:
    path = real_data / "candles" / "binance_spot_1h_15coins_2017_2022-10.parquet"
    recorded: Any = pl.read_parquet(path).filter(pl.col("symbol") == "ETH/USDT").sort("open_time")

    begun = perf_counter()
    exchange = serve("--candles", path)
    started_s = perf_counter() - begun
    first = int(recorded["open_time"][0])
    page = exchange.client.fetch_ohlcv("ETH/USDT", "1h", first, 1000)

    assert recorded.head(1000).select("open_time", "open", "high", "low", "close", "volume").rows() == [tuple(row) for row in page]
    # A loaded machine may take a while; unloaded it is under one second.
    assert started_s < 10
