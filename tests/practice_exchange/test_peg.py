"""The coin with a peg: what follows from its formula, and that nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from configs.vocabulary import Timeframe
from desk.practice_exchange.peg import FALL_HOURS, MEMORY, NOISE, PAIR, RETURN_HOURS, TROUGH, Stress, stress_of
from desk.practice_exchange.synthetic import SyntheticMarket

HISTORY, STREAM = 300, 400
SYMBOLS = ("BTC/USDC", "BTC/USDT")
SEEDS = [1, 2, 3]


def market(seed: int, scenario: str | None, symbols: tuple[str, ...] = SYMBOLS, timeframe: Timeframe = Timeframe.H1) -> SyntheticMarket:
    return SyntheticMarket(seed, symbols, timeframe, 0, HISTORY, STREAM, scenario)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_coin_falls_to_the_trough_and_no_further_and_returns(seed: int) -> None:
    candles = market(seed, "depeg").tape().candles[PAIR]
    bottom = int(np.argmin(candles.close))

    assert TROUGH == candles.close[bottom]
    # Lines in the logarithm: half way down it is worth the root of the trough, give or take half of what it strays.
    middle = bottom - FALL_HOURS // 2
    assert math.sqrt(TROUGH) == pytest.approx(candles.close[middle], abs=5 * NOISE)
    assert math.sqrt(TROUGH) == pytest.approx(candles.close[bottom + RETURN_HOURS // 2], abs=5 * NOISE)
    assert np.abs(np.log(candles.close[bottom + RETURN_HOURS :])).max() < 6 * NOISE / math.sqrt(1 - MEMORY**2)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_event_lies_in_the_stream(seed: int) -> None:
    candles = market(seed, "depeg").tape().candles[PAIR]
    bottom_ms = int(candles.times[np.argmin(candles.close)])
    bottom = bottom_ms // Timeframe.H1.milliseconds

    assert HISTORY + FALL_HOURS - 1 <= bottom <= HISTORY + STREAM - RETURN_HOURS


def test_without_the_scenario_the_peg_holds() -> None:
    """A stray of an autoregression has the deviation NOISE / sqrt(1 - MEMORY**2)."""
    candles = market(1, None, (PAIR,)).tape().candles[PAIR]
    deviation = NOISE / math.sqrt(1 - MEMORY**2)

    assert deviation == pytest.approx(float(np.log(candles.close).std()), rel=0.35)
    assert np.abs(np.log(candles.close)).max() < 6 * deviation


def test_only_what_has_to_do_with_the_coin_changes() -> None:
    calm, stormy = market(3, None).tape(), market(3, "depeg").tape()

    for ours, theirs in zip(calm.candles["BTC/USDT"].columns(), stormy.candles["BTC/USDT"].columns(), strict=True):
        assert np.array_equal(ours, theirs)


def test_what_is_priced_in_the_coin_rises_as_the_coin_falls() -> None:
    """At the trough a price in the coin is 1 / 0.88 of what it would have been, to a tick."""
    calm, stormy = (market(3, scenario).tape().candles["BTC/USDC"].close for scenario in (None, "depeg"))
    coin = market(3, "depeg").tape().candles[PAIR].close
    bottom = int(np.argmin(coin))

    assert 1 / TROUGH == pytest.approx(stormy[bottom] / calm[bottom], rel=1e-6)
    assert np.array_equal(calm[:HISTORY], stormy[:HISTORY])


@pytest.mark.parametrize("seed", SEEDS)
def test_candles_are_sound_in_the_storm_and_more_is_traded(seed: int) -> None:
    candles = market(seed, "depeg").tape().candles[PAIR]

    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()
    assert candles.volume[np.argmin(candles.close)] > 2 * np.median(candles.volume)


def test_a_stream_that_is_too_short_begins_with_the_fall() -> None:
    assert Stress(100, FALL_HOURS, RETURN_HOURS) == stress_of(0.9, 100, 20, 1.0)


def test_bars_longer_than_the_fall_still_have_a_trough() -> None:
    assert Stress(100, 1, 2) == stress_of(0.0, 100, 50, 24.0)
    assert 1.0 == Stress(100, 1, 2).path(200)[100]
