"""The contract of bars: valid bars pass untouched, and each single fault is found, located and explained."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.bars import BAR_COLUMNS, CONTRACT
from data_contracts.gate import Admitted, Quarantined, admit

MakeBars = Callable[..., pl.DataFrame]
ROW = pl.int_range(pl.len())


def broken(frame: pl.DataFrame) -> Quarantined:
    """The quarantine that this frame must end in."""
    answer = admit(frame, CONTRACT)
    assert isinstance(answer, Quarantined)
    return answer


def put(column: str, value: float | str | None, row: int = 2) -> pl.Expr:
    """An expression that replaces one cell."""
    return pl.when(ROW == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)


def test_valid_bars_are_admitted_as_the_very_same_frame(make_bars: MakeBars) -> None:
    bars = make_bars()

    answer = admit(bars, CONTRACT)

    assert isinstance(answer, Admitted)
    assert answer.frame is bars


@pytest.mark.parametrize(
    ("fault", "check", "column"),
    [
        (put("close", float("nan")), "present", "close"),
        (put("close", None), "present", "close"),
        (put("close", float("inf")), "close_positive", "close"),
        (put("low", 0.0), "low_positive", "low"),
        (put("open", -1.0), "open_positive", "open"),
        (put("volume", -0.5), "volume_not_negative", "volume"),
        (put("volume", float("inf")), "volume_not_negative", "volume"),
        (put("high", 50.0), "high_above_low", "high, low"),
        (put("low", 102.5), "low_is_lowest", "low, open, close"),
        (put("high", 102.0), "high_is_highest", "high, open, close"),
        (put("timeframe", "7h"), "timeframe_known", "timeframe"),
        (put("symbol", ""), "symbol_named", "symbol"),
    ],
)
def test_a_fault_in_one_cell_is_found_where_it_is(make_bars: MakeBars, fault: pl.Expr, check: str, column: str) -> None:
    found = broken(make_bars().with_columns(fault)).cases.filter(pl.col("check") == check)

    assert [(column, 2, "2024-01-01T02:00:00Z")] == found.select("column", "row", "open_time").rows()


def test_an_infinite_close_is_reported_as_what_it_is(make_bars: MakeBars) -> None:
    summary = broken(make_bars().with_columns(put("close", float("inf")))).summary()

    assert "Expected a finite close above 0, found 1 case: close = inf (BTC/USDT, 2024-01-01T02:00:00Z, row 2)." in summary


@pytest.mark.parametrize(
    ("reshape", "check", "value"),
    [
        (lambda bars: bars.drop("high"), "column_missing", "high"),
        (lambda bars: bars.with_columns(trades=pl.lit(1)), "column_unexpected", "trades"),
        (lambda bars: bars.select(reversed(bars.columns)), "column_order", "volume"),
        (lambda bars: bars.with_columns(pl.col("volume").cast(pl.Float32)), "column_type", "volume"),
        (lambda bars: bars.with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC"))), "column_type", "open_time"),
        (lambda bars: bars.with_columns(pl.col("open_time").dt.replace_time_zone(None)), "column_type", "open_time"),
    ],
)
def test_a_frame_of_another_shape_is_refused_by_column(make_bars: MakeBars, reshape: Callable[[pl.DataFrame], pl.DataFrame], check: str, value: str) -> None:
    cases = broken(reshape(make_bars())).cases

    assert (value, check) == cases.select("column", "check").row(0)
    assert {check} == set(cases["check"])


def test_an_empty_frame_is_never_admitted() -> None:
    answer = broken(pl.DataFrame(schema=BAR_COLUMNS))

    assert ["not_empty"] == answer.cases["check"].to_list()


def test_duplicate_bars_are_all_shown(make_bars: MakeBars) -> None:
    bars = make_bars()

    cases = broken(pl.concat([bars, bars.slice(3, 1)]).sort("symbol", "open_time")).cases

    assert [("unique_bar", 3), ("unique_bar", 4)] == cases.select("check", "row").rows()


def test_bars_out_of_order_are_refused(make_bars: MakeBars) -> None:
    bars = make_bars()

    cases = broken(pl.concat([bars.slice(1, 1), bars.slice(0, 1), bars.slice(2)])).cases

    assert [("sorted", 1)] == cases.select("check", "row").rows()


@pytest.mark.parametrize("scale", [1 / 1000, 1000], ids=["milliseconds read as microseconds", "microseconds read as milliseconds"])
def test_a_wrong_unit_of_time_is_named_as_such(make_bars: MakeBars, scale: float) -> None:
    wrong = make_bars().with_columns((pl.col("open_time").dt.epoch("us") * scale).cast(pl.Int64).cast(pl.Datetime("us", "UTC")))

    answer = broken(wrong)

    assert {"unit_of_time"} == set(answer.cases["check"])
    assert re.search(r"looks like seconds read as milliseconds, or milliseconds as microseconds", answer.summary())


def test_a_bar_off_the_grid_of_its_timeframe_is_refused(make_bars: MakeBars) -> None:
    shifted = make_bars().with_columns(pl.col("open_time") + timedelta(minutes=30))

    assert {"on_grid"} == set(broken(shifted).cases["check"])


NUMBERS = st.sampled_from(["open", "high", "low", "close", "volume"])
IMPOSSIBLE = st.sampled_from([None, float("nan"), float("-inf"), -1.0])


@given(row=st.integers(0, 11), column=NUMBERS, value=IMPOSSIBLE)
def test_no_impossible_number_passes_anywhere(row: int, column: str, value: float | None) -> None:
    """Whatever the cell, a number that cannot be a price or a volume keeps the frame out."""
    count = 6
    base = pl.DataFrame(
        {
            "symbol": ["A/B"] * count + ["C/D"] * count,
            "timeframe": ["1h"] * 2 * count,
            "open_time": pl.Series([1704067200_000_000 + 3600_000_000 * (i % count) for i in range(2 * count)]).cast(pl.Datetime("us", "UTC")),
            **{name: [2.0] * 2 * count for name in ("open", "high", "low", "close", "volume")},
        }
    )

    answer = admit(base.with_columns(put(column, value, row)), CONTRACT)

    assert isinstance(answer, Quarantined)
    assert row in answer.cases["row"].to_list()


@pytest.mark.data
def test_half_a_million_real_bars_with_real_crashes_pass(real_data: Path) -> None:
    """Real extremes (MATIC 2019-12-10, DOGE 2021-01-29) are not faults: no outlier filter hides in the contract."""
    bars = pl.read_parquet(real_data / "candles" / "binance_spot_1h_15coins_2017_2022-10.parquet")
    bars = bars.with_columns(pl.from_epoch("open_time", "ms").cast(pl.Datetime("us", "UTC")))

    assert isinstance(admit(bars, CONTRACT), Admitted)
