"""One bar at a time: warm-up, order of bars, memory. Equality with batch is in tests/agreement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from configs.vocabulary import Timeframe
from desk.errors import ClockBackwards, ContractBroken
from desk.events import Bar
from desk.features.incremental import Stream
from desk.features.recipe import load


def _bar(hour, symbol="BTC/USDT", price=100.0):
    return Bar(symbol, Timeframe.H1, datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour), price, price * 1.01, price * 0.99, price, 5.0)


def test_rows_are_nan_until_the_recipe_is_warm():
    stream = Stream(load("core"))

    rows = [stream.update(_bar(hour, price=100.0 + hour % 7)) for hour in range(130)]

    assert (np.float32, (16,)) == (rows[0].dtype, rows[0].shape)
    assert all(np.isnan(row).all() for row in rows[:128])
    assert all(np.isfinite(row).all() for row in rows[128:])


def test_a_bar_told_twice_is_refused():
    stream = Stream(load("core"))
    stream.update(_bar(3))

    with pytest.raises(ClockBackwards, match="2024-01-01T03:00"):
        stream.update(_bar(3))


def test_a_bar_of_another_symbol_is_refused():
    stream = Stream(load("core"))
    stream.update(_bar(3))

    with pytest.raises(ContractBroken, match="follows BTC/USDT; found a bar of ETH/USDT"):
        stream.update(_bar(4, "ETH/USDT"))


def test_a_refused_bar_leaves_the_stream_as_it_was():
    disturbed, quiet = Stream(load("core")), Stream(load("core"))
    for hour in range(140):
        price = 100.0 + hour % 11
        expected, actual = quiet.update(_bar(hour, price=price)), disturbed.update(_bar(hour, price=price))
        with pytest.raises(ClockBackwards):
            disturbed.update(_bar(hour, price=price * 2))

    np.testing.assert_array_equal(expected, actual)
