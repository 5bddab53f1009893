"""Every indicator against its formula written out independently with pandas, and against closed forms on made-up prices."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from desk.features import batch, indicators
from desk.features.recipe import Feature, compose, load


def _values(formula, bars):
    """The indicator's values over one symbol's bars, float64."""
    recipe = compose("one", 1, (Feature("it", formula),))
    return batch.precise(recipe, bars)["it"].to_numpy()


def _spelled_out(bars):
    """The core recipe as the papers write it: pandas rolling windows, no sharing, no doubling."""
    f = bars.select(list(batch.BAR_COLUMNS)).to_pandas()
    price, span = np.log(f["close"]), np.log(f["high"] / f["low"])
    r = price.diff()
    rms = {n: (r**2).rolling(n).mean() ** 0.5 for n in (8, 16, 64, 128)}
    gains, losses = r.clip(lower=0).rolling(16).sum(), (-r).clip(lower=0).rolling(16).sum()
    level = f["volume"] ** 0.5
    amihud = r.abs() / (f["close"] * f["volume"])
    day = 2 * np.pi * (f["open_time"].dt.hour + f["open_time"].dt.minute / 60) / 24
    return {
        "return_1": r / rms[64],
        "return_4": (price - price.shift(4)) / (rms[64] * 2),
        "return_16": (price - price.shift(16)) / (rms[64] * 4),
        "return_64": (price - price.shift(64)) / (rms[64] * 8),
        "volatility_16": np.log(rms[16] * 100),
        "volatility_128": np.log(rms[128] * 100),
        "volatility_ratio": np.log(rms[8] / rms[64]),
        "range_volatility": np.log(np.sqrt((span**2).rolling(16).mean() / (4 * math.log(2))) / rms[16]),
        "close_position": (2 * f["close"] - f["high"] - f["low"]) / (f["high"] - f["low"]),
        "strength_16": 2 * (100 - 100 / (1 + gains / losses)) / 100 - 1,
        "trend_64": (price - price.rolling(64).mean()) / (rms[64] * 8),
        "volume_surprise": (level - level.rolling(64).mean()) / level.rolling(64).std(ddof=0),
        "illiquidity": np.log(amihud.rolling(16).mean() / amihud.rolling(128).mean()),
        "hour_sine": np.sin(day),
        "hour_cosine": np.cos(day),
        "weekend": (f["open_time"].dt.day_of_week >= 5).astype(float),
    }


def test_every_feature_of_core_is_what_its_paper_says(walk):
    bars, recipe = walk("BTC/USDT", 600, 4), load("core")
    ours, theirs = batch.precise(recipe, bars), _spelled_out(bars)

    assert recipe.names == tuple(theirs)
    for name in recipe.names:
        np.testing.assert_allclose(
            ours[name].to_numpy()[recipe.warmup_bars :], pd.Series(theirs[name]).to_numpy()[recipe.warmup_bars :], rtol=1e-7, atol=1e-9, err_msg=name
        )


def test_features_of_a_random_walk_are_near_unit_scale(walk):
    features = batch.compute(load("core"), walk("BTC/USDT", 4000, 9)).select(load("core").names)[128:]

    assert max(features[name].std() for name in features.columns) < 1.5
    assert max(abs(features[name].mean()) for name in features.columns) < 1.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("return_1", 1.0),
        ("return_16", 4.0),
        ("return_64", 8.0),
        ("strength_16", 1.0),
        ("volatility_16", 0.0),
        ("volatility_ratio", 0.0),
        ("trend_64", 31.5 / 8),
    ],
)
def test_steady_growth_of_one_percent_has_closed_forms(walk, name, expected):
    """Every log return is .01: it is its own volatility; sums grow with n, volatility with root n; the mean of 64 lies 31.5 bars back."""
    bars = walk("BTC/USDT", 200, 1).with_columns(close=(pl.int_range(200) * 0.01).exp())

    assert expected == pytest.approx(batch.precise(load("core"), bars)[name][-1], rel=1e-9, abs=1e-9)


def test_a_flat_market_without_trades_has_finite_features(walk):
    """No range, no returns, no volume: every feature exists, and those that compare say 0."""
    flat = walk("BTC/USDT", 200, 1).with_columns(pl.lit(7.0).alias(name) for name in ("open", "high", "low", "close")).with_columns(volume=pl.lit(0.0))

    last = batch.compute(load("core"), flat).row(-1, named=True)

    assert all(math.isfinite(last[name]) for name in load("core").names)
    silent = ("return_1", "return_64", "volatility_ratio", "range_volatility", "close_position", "strength_16", "trend_64", "volume_surprise", "illiquidity")
    assert {0.0} == {last[name] for name in silent}


def test_a_broken_price_is_undefined_only_while_it_is_in_the_window(walk):
    """NaN leaves with its window: nothing accumulates."""
    bars = walk("BTC/USDT", 200, 1).with_columns(close=pl.when(pl.int_range(200) == 50).then(0.0).otherwise(pl.col("close")))

    values = _values(indicators.log_volatility(16), bars)

    assert [50, 66] == [int(np.flatnonzero(np.isnan(values[16:]))[0]) + 16, int(np.flatnonzero(np.isnan(values[16:]))[-1]) + 16]


def test_constant_volume_is_no_surprise(walk):
    """At rounding level a variance is not divided by: without the resolution this reads as a noise of order 1."""
    values = _values(indicators.volume_surprise(64), walk("BTC/USDT", 200, 1).with_columns(volume=pl.lit(0.1 + 0.2)))

    assert {0.0} == set(np.round(values[63:], 6))


def test_volume_surprise_does_not_depend_on_the_unit_of_volume(walk):
    bars = walk("BTC/USDT", 200, 1)
    coins, thousandths = _values(indicators.volume_surprise(64), bars), _values(indicators.volume_surprise(64), bars.with_columns(pl.col("volume") * 1000))

    np.testing.assert_allclose(coins, thousandths, rtol=1e-9)
