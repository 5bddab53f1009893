"""The features frame: shape, order, warm-up, and its refusal of frames that are no bars."""

from __future__ import annotations

import polars as pl
import pytest

from data_contracts.gate import ContractViolation
from desk.features import batch
from desk.features.recipe import load


def test_the_frame_has_keys_and_float32_features_sorted_by_symbol_and_time(market):
    frame = batch.compute(load("core"), market)

    assert [*batch.KEYS, *load("core").names] == frame.columns
    assert {pl.Float32()} == {frame.schema[name] for name in load("core").names}
    assert frame.select(batch.KEYS).equals(market.select(batch.KEYS).sort(batch.KEYS))


def test_a_row_is_whole_or_absent(market):
    """The first 128 rows of each symbol are NaN throughout, all later ones finite throughout."""
    frame = batch.compute(load("core"), market)
    finite = frame.select("symbol", place=pl.int_range(pl.len()).over("symbol"), n=pl.sum_horizontal(pl.col(load("core").names).is_finite().cast(pl.Int32)))

    assert [0] == finite.filter(pl.col("place") < 128)["n"].unique().to_list()
    assert [16] == finite.filter(pl.col("place") >= 128)["n"].unique().to_list()


def test_a_symbol_is_the_same_alone_and_in_company(market):
    alone = batch.compute(load("core"), market.filter(pl.col("symbol") == "ETH/USDT"))

    assert alone.equals(batch.compute(load("core"), market).filter(pl.col("symbol") == "ETH/USDT"))


def test_no_bars_make_no_features(market):
    frame = batch.compute(load("core"), market.head(0))

    assert (0, 19) == frame.shape


def test_a_frame_without_volume_is_refused(market):
    with pytest.raises(ContractViolation, match="expected column volume of bars as Float64, found no such column"):
        batch.compute(load("core"), market.drop("volume"))
