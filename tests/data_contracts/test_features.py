"""The contract of features: finite after the warm-up, never infinite, exactly the recipe's columns."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from data_contracts.features import features_contract
from data_contracts.gate import Admitted, Quarantined, admit

MakeBars = Callable[..., pl.DataFrame]
WARMUP_BARS = 2
CONTRACT = features_contract(("momentum", "range"), WARMUP_BARS)


def features_of(bars: pl.DataFrame) -> pl.DataFrame:
    """A features frame that is NaN exactly during each symbol's warm-up."""
    row = pl.int_range(pl.len()).over("symbol")
    value = pl.when(row < WARMUP_BARS).then(float("nan")).otherwise(0.5).cast(pl.Float32)
    return bars.select("symbol", "timeframe", "open_time", value.alias("momentum"), pl.lit(1.0, pl.Float32).alias("range"))


def with_value(frame: pl.DataFrame, row: int, value: float | None) -> pl.DataFrame:
    """The frame with one other momentum."""
    return frame.with_columns(pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value, pl.Float32)).otherwise("momentum").alias("momentum"))


def test_nan_during_each_symbols_warm_up_is_admitted(make_bars: MakeBars) -> None:
    assert isinstance(admit(features_of(make_bars()), CONTRACT), Admitted)


@pytest.mark.parametrize(("row", "value"), [(2, float("nan")), (8, float("nan")), (0, float("inf")), (11, float("-inf"))])
def test_nan_after_the_warm_up_and_infinity_at_any_time_are_refused(make_bars: MakeBars, row: int, value: float) -> None:
    answer = admit(with_value(features_of(make_bars()), row, value), CONTRACT)

    assert isinstance(answer, Quarantined)
    assert [("momentum_finite", row)] == answer.cases.select("check", "row").rows()


def test_a_frame_without_a_feature_of_the_recipe_is_refused(make_bars: MakeBars) -> None:
    answer = admit(features_of(make_bars()).drop("range"), CONTRACT)

    assert isinstance(answer, Quarantined)
    assert [("range", "column_missing")] == answer.cases.select("column", "check").rows()
