"""The seeded market: reproducible anywhere, plausible, and with the planted component where its docstring says it is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from configs.vocabulary import Timeframe
from desk.practice_exchange.synthetic import GAIN, PERSISTENCE, SyntheticMarket
from desk.practice_exchange.tape import Floats, Tape

START_MS = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp() * 1000)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
SMALL = SyntheticMarket(7, SYMBOLS, Timeframe.H1, START_MS, 900, 100)
HORIZON = 4


def test_another_process_prints_the_same_bars() -> None:
    expression = f"from desk.practice_exchange.synthetic import *; print({SMALL!r}.tape().hash)".replace("<Timeframe.H1: '1h'>", "Timeframe.H1")

    hashes = {subprocess.run([sys.executable, "-c", expression], capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)}

    assert {SMALL.tape().hash} == hashes


def test_a_longer_stream_leaves_earlier_bars_as_they_were() -> None:
    short, long = SMALL.tape(), replace(SMALL, stream_bars=700).tape()

    for symbol in SYMBOLS:
        for shorter, longer in zip(short.candles[symbol].columns(), long.candles[symbol].columns(), strict=True):
            np.testing.assert_array_equal(shorter, longer[: len(shorter)])


def test_a_symbol_does_not_depend_on_which_others_are_listed() -> None:
    alone = replace(SMALL, symbols=("ETH/USDT",)).tape()

    np.testing.assert_array_equal(SMALL.tape().candles["ETH/USDT"].close, alone.candles["ETH/USDT"].close)


def test_another_seed_is_another_market() -> None:
    assert SMALL.tape().hash != replace(SMALL, seed=8).tape().hash


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1, Timeframe.D1])
def test_bars_are_sound_and_on_the_grid(timeframe: Timeframe) -> None:
    tape = replace(SMALL, timeframe=timeframe, symbols=(*SYMBOLS, "NEW/USDT")).tape()

    for symbol, candles in tape.candles.items():
        assert (candles.low <= np.minimum(candles.open, candles.close)).all()
        assert (candles.high >= np.maximum(candles.open, candles.close)).all()
        assert (candles.low > 0).all()
        assert (candles.volume > 0).all()
        ticks = candles.close / float(tape.listings[symbol].tick)
        np.testing.assert_allclose(ticks, np.rint(ticks), rtol=1e-9)


def test_the_exchange_was_down_a_few_times_in_history_and_never_in_the_stream() -> None:
    tape = SyntheticMarket(7, SYMBOLS, Timeframe.H1, START_MS, 3000, 500).tape()
    times = tape.candles["BTC/USDT"].times
    gaps = np.flatnonzero(np.diff(times) > Timeframe.H1.milliseconds)

    assert 3 == len(gaps)
    assert (times[gaps] < tape.history_until_ms).all()
    for candles in tape.candles.values():
        np.testing.assert_array_equal(times, candles.times)


def test_a_bar_moves_about_one_percent_and_trades_some_millions() -> None:
    for candles in SMALL.tape().candles.values():
        assert 0.004 < np.diff(np.log(candles.close)).std() < 0.014
        assert 5e6 < np.median(candles.volume * candles.close) < 2e7


def expectation(log_prices: Floats) -> Floats:
    """The planted expectation recovered from past returns alone, as the market's docstring says."""
    value, path = 0.0, []
    for surprise in np.diff(log_prices, prepend=log_prices[0]).tolist():
        value = (PERSISTENCE - GAIN) * value + GAIN * surprise
        path.append(value)
    return np.array(path)


def information_coefficient(tape: Tape) -> float:
    """Correlation of the expectation with the log return over the next bars, all symbols pooled."""
    known, realised = [], []
    for candles in tape.candles.values():
        prices = np.log(candles.close)
        known.append(expectation(prices)[100:-HORIZON])
        realised.append((prices[HORIZON:] - prices[:-HORIZON])[100:])
    return float(np.corrcoef(np.concatenate(known), np.concatenate(realised))[0, 1])


def test_the_planted_component_can_be_found_in_past_returns() -> None:
    """About 0.11 for four bars ahead; the band is what ten seeds of 20000 bars of four symbols showed, with room."""
    tapes = [SyntheticMarket(seed, SYMBOLS, Timeframe.H1, START_MS, 20_000, 10).tape() for seed in (1, 7)]

    coefficients = [information_coefficient(tape) for tape in tapes]

    assert all(0.07 < coefficient < 0.16 for coefficient in coefficients), coefficients
