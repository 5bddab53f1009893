from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from configs.vocabulary import Timeframe
from desk.backtest.panel import Panel
from desk.errors import ContractBroken

START = datetime(2024, 1, 1, tzinfo=UTC)

DAYS = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="datetime64[us]")


def frame(rows: list[tuple[str, int, float]], timeframe: str = "1h") -> pl.DataFrame:
    """Bars of (symbol, hour, close)."""
    return pl.DataFrame(
        {
            "symbol": [symbol for symbol, _, _ in rows],
            "timeframe": timeframe,
            "open_time": [START + timedelta(hours=hour) for _, hour, _ in rows],
            **{name: [close + shift for _, _, close in rows] for name, shift in (("open", 0.1), ("high", 0.2), ("low", -0.2), ("close", 0.0), ("volume", 5.0))},
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )


def test_bars_in_any_order_become_rows_by_time_and_columns_by_symbol() -> None:
    panel = Panel.from_frame(frame([("ETH/USDT", 1, 4.0), ("BTC/USDT", 0, 1.0), ("ETH/USDT", 0, 3.0), ("BTC/USDT", 2, 2.0)]))

    assert ("BTC/USDT", "ETH/USDT") == panel.symbols
    np.testing.assert_array_equal([[1.0, 3.0], [np.nan, 4.0], [2.0, np.nan]], panel.close)
    np.testing.assert_array_equal([[1.1, 3.1], [np.nan, 4.1], [2.1, np.nan]], panel.open)
    assert (START + timedelta(hours=3)).replace(tzinfo=None) == panel.closed_at[-1].astype(object)


def test_a_gap_does_not_make_bars_longer() -> None:
    panel = Panel.from_frame(frame([("BTC/USDT", 0, 1.0), ("BTC/USDT", 9, 2.0)]))

    assert np.timedelta64(1, "h") == panel.bar_length
    assert Timeframe.H1.bars_per_year == panel.bars_per_year


def test_bars_from_a_moment_on_remember_the_closes_before_them() -> None:
    whole = Panel.from_frame(frame([("BTC/USDT", hour, hour + 1.0) for hour in range(6)] + [("ETH/USDT", 1, 9.0)]))

    later = whole.since(START + timedelta(hours=4), 3)

    assert [5.0, 6.0] == later.close[:, 0].tolist()
    assert whole.times[4] == later.times[0]
    np.testing.assert_array_equal([[2.0, 9.0], [3.0, np.nan], [4.0, np.nan]], later.before)
    assert (0, 2) == np.shape(whole.since(START, 3).before)


def test_earlier_closes_of_other_symbols_are_refused() -> None:
    with pytest.raises(ContractBroken, match="earlier closes of 1 symbols"):
        replace(Panel.from_frame(frame([("BTC/USDT", 0, 1.0)])), before=np.ones((3, 2)))


def test_a_doubled_bar_is_refused() -> None:
    with pytest.raises(ContractBroken, match="1 doubled"):
        Panel.from_frame(frame([("BTC/USDT", 0, 1.0), ("BTC/USDT", 0, 2.0)]))


def test_two_timeframes_in_one_frame_are_refused() -> None:
    mixed = pl.concat([frame([("BTC/USDT", 0, 1.0)]), frame([("BTC/USDT", 0, 1.0)], "4h")])

    with pytest.raises(ContractBroken, match="exactly one timeframe"):
        Panel.from_frame(mixed)


def test_no_bars_are_refused() -> None:
    with pytest.raises(ContractBroken, match="at least one bar"):
        Panel(np.empty(0, "datetime64[us]"), ("BTC/USDT",), *[np.empty((0, 1))] * 5)


def test_times_that_step_back_are_refused() -> None:
    times = np.array(["2024-01-02", "2024-01-01"], dtype="datetime64[us]")

    with pytest.raises(ContractBroken, match="ascending"):
        Panel(times, ("BTC/USDT",), *[np.ones((2, 1))] * 5)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("close", -5.0, "close -5"),
        ("close", 0.0, "close 0"),
        ("open", np.nan, "open nan"),
        ("high", np.inf, "high inf"),
        ("low", np.nan, "low nan"),
        ("volume", -1.0, "volume -1"),
        ("volume", np.inf, "volume inf"),
    ],
)
def test_a_bar_with_a_number_that_nothing_trades_at_is_refused_by_its_name(name: str, value: float, said: str) -> None:
    """A backtest at such a price would end with an equity that looks like any other."""
    arrays = {each: np.ones((3, 2)) for each in ("open", "high", "low", "close", "volume")}
    arrays[name][1, 0] = value

    with pytest.raises(ContractBroken, match=f"found {said} in 1 bars, first of BTC/USDT at 2024-01-02"):
        Panel(DAYS, ("BTC/USDT", "ETH/USDT"), **arrays)


def test_where_there_is_no_close_nothing_else_is_looked_at_and_a_volume_may_be_unknown_or_nothing() -> None:
    arrays = {each: np.ones((3, 1)) for each in ("open", "high", "low", "close", "volume")}
    arrays["close"][0], arrays["open"][0] = np.nan, -1.0
    arrays["volume"][1:, 0] = np.nan, 0.0

    assert not Panel(DAYS, ("BTC/USDT",), **arrays).dense


def test_a_symbol_that_stands_twice_is_refused() -> None:
    with pytest.raises(ContractBroken, match="every symbol once"):
        Panel(DAYS, ("BTC/USDT", "BTC/USDT"), *[np.ones((3, 2))] * 5)
