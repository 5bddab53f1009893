from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.result import Frames, Result, first_difference
from desk.errors import BadFile


@pytest.fixture
def result(market: Callable[[int, int, int], Panel]) -> Result:
    """Some fills, some refusals, some undefined measures."""
    bars = market(5, 60, 2)
    wishes = np.repeat(np.random.default_rng(5).uniform(0, 1, (12, 2)), 5, axis=0)
    return simulate(bars, wishes, CostSettings(), RiskSettings(max_position_weight=0.3))


def changed(result: Result, **frames: pl.DataFrame) -> Result:
    """The same result with another frame in it."""
    return replace(result, detail=replace(Frames(result.fills, result.refusals, result.positions), **frames))


def test_what_was_saved_is_what_is_loaded(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "bundle")

    loaded = Result.load(tmp_path / "bundle")

    assert len(result.fills) > 0
    assert len(result.refusals) > 0
    assert result.fills.equals(loaded.fills)
    assert result.refusals.equals(loaded.refusals)
    for name in ("times", "equity", "positions"):
        np.testing.assert_array_equal(getattr(result, name), getattr(loaded, name))
    assert (result.symbols, result.assumptions) == (loaded.symbols, loaded.assumptions)
    np.testing.assert_equal(dict(result.measures), loaded.measures)


def test_an_undefined_measure_survives_the_file(result: Result, tmp_path: Path) -> None:
    replace(result, measures={"sharpe": float("nan")}).save(tmp_path)

    assert np.isnan(Result.load(tmp_path).measures["sharpe"])


def test_a_folder_without_a_result_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"expected a backtest result in .*run the backtest again"):
        Result.load(tmp_path)


@pytest.mark.parametrize(("file", "content"), [("result.json", '{"costs": {}}'), ("result.json", "{"), ("fills.parquet", "PAR1"), ("equity.parquet", "")])
def test_a_bundle_that_is_not_whole_is_refused(result: Result, tmp_path: Path, file: str, content: str) -> None:
    result.save(tmp_path)
    (tmp_path / file).write_text(content, encoding="utf-8")

    with pytest.raises(BadFile, match="expected a backtest result"):
        Result.load(tmp_path)


def test_a_result_that_was_replaced_half_way_is_none(result: Result, tmp_path: Path) -> None:
    """Fills of one run beside the equity of another would load as a run that never was."""
    result.save(tmp_path)
    kept = (tmp_path / "refusals.parquet").read_bytes()
    (tmp_path / "refusals.parquet").unlink()
    (tmp_path / "refusals.parquet").mkdir()
    with pytest.raises(OSError, match="refusals"):
        replace(result, equity=result.equity * 2).save(tmp_path)
    (tmp_path / "refusals.parquet").rmdir()
    (tmp_path / "refusals.parquet").write_bytes(kept)

    with pytest.raises(BadFile, match="expected a backtest result"):
        Result.load(tmp_path)


def test_a_result_does_not_differ_from_itself(result: Result) -> None:
    assert first_difference(result, result) is None


def test_the_first_difference_names_the_fill(result: Result) -> None:
    other = result.fills.with_columns(ticks=pl.when(pl.int_range(pl.len()) == 2).then(pl.col("ticks") + 1).otherwise(pl.col("ticks")))

    assert str(first_difference(result, changed(result, fills=other))).startswith("fill 2 differs: ")


def test_a_missing_fill_is_a_difference(result: Result) -> None:
    found = first_difference(result, changed(result, fills=result.fills[:-1]))

    assert str(found).startswith(f"{len(result.fills)} fills against {len(result.fills) - 1}")


def test_a_missing_refusal_is_a_difference(result: Result) -> None:
    assert "refusals against 0" in str(first_difference(result, changed(result, refusals=result.refusals[:0])))


@pytest.mark.parametrize(("apart", "same"), [(5e-13, True), (5e-12, False)])
def test_equity_may_differ_by_less_than_a_billionth_of_a_thousandth(result: Result, apart: float, same: bool) -> None:
    other = replace(result, equity=result.equity * (1 + apart))

    assert same is (first_difference(result, other) is None)


def test_other_times_are_a_difference(result: Result) -> None:
    assert str(first_difference(result, replace(result, times=result.times + 1))).startswith("marks differ")


def test_a_cost_that_is_counted_otherwise_is_a_difference(result: Result) -> None:
    """The same fills and equity, and spread told as impact."""
    costs = dict(result.costs)
    other = replace(result, detail=Frames(result.fills, result.refusals, result.positions, {**costs, "spread": costs["spread"] * (1 + 1e-8)}))
    close = replace(result, detail=Frames(result.fills, result.refusals, result.positions, {**costs, "spread": costs["spread"] * (1 + 1e-10)}))

    assert str(first_difference(result, other)).startswith("costs by spread differ: ")
    assert first_difference(result, close) is None
