"""Self-checks: a wrong argument is refused before anything is computed, with a message a newcomer understands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from data_contracts.bars import BAR_COLUMNS
from data_contracts.checks import checks_schema, checks_shape, requires_fitted
from data_contracts.gate import ContractViolation

MakeBars = Callable[..., pl.DataFrame]
ROOT = Path(__file__).resolve().parents[2]


@checks_shape(window="batch time feature", target="batch 1")
def score(window: NDArray[np.float64], target: NDArray[np.float64] | None = None, *, scale: float = 1.0) -> float:
    """Sum of the window, scaled."""
    return float(window.sum()) * scale


@checks_schema(bars=BAR_COLUMNS)
def count(bars: pl.DataFrame | pl.LazyFrame) -> int:
    """Number of columns."""
    return len(bars.collect_schema())


class Scaler:
    """Something that must be fitted."""

    def __init__(self) -> None:
        self.mean: float | None = None

    @requires_fitted("mean")
    def apply(self, value: float) -> float:
        """Subtract the mean."""
        assert self.mean is not None
        return value - self.mean


def test_consistent_axes_pass_by_position_and_by_name() -> None:
    window = np.ones((2, 3, 4))

    assert 24.0 == score(window, np.ones((2, 1)))
    assert 48.0 == score(window=window, target=None, scale=2.0)


@pytest.mark.parametrize(
    ("window", "target", "message"),
    [
        ((2, 3), (2, 1), r"score: expected window as \[batch, time, feature\], found 2 axes \(2, 3\)"),
        ((2, 3, 4), (5, 1), r"expected target as \[batch, 1\], and batch is 2 in this call, found \(5, 1\)"),
        ((2, 3, 4), (2, 3), r"expected target as \[batch, 1\], found \(2, 3\)"),
    ],
)
def test_a_wrong_axis_is_named_with_what_was_found(window: tuple[int, ...], target: tuple[int, ...], message: str) -> None:
    with pytest.raises(ContractViolation, match=message):
        score(np.ones(window), np.ones(target))


def test_something_without_a_shape_is_refused() -> None:
    with pytest.raises(ContractViolation, match=r"found a list\. Convert it to an array first"):
        score([[1.0]])  # type: ignore[arg-type]


def test_tensors_are_checked_like_arrays() -> None:
    torch = pytest.importorskip("torch")

    assert 6.0 == score(torch.ones(1, 2, 3), torch.ones(1, 1))
    with pytest.raises(ContractViolation, match="batch is 1 in this call"):
        score(torch.ones(1, 2, 3), torch.ones(2, 1))


def test_naming_an_argument_that_does_not_exist_fails_at_once() -> None:
    with pytest.raises(TypeError, match="has no argument typo to check"):
        checks_shape(typo="batch")(lambda x: x)


def test_frames_lazy_or_not_must_have_the_columns(make_bars: MakeBars) -> None:
    bars = make_bars()

    assert 9 == count(bars.with_columns(extra=1))
    assert 8 == count(bars.lazy())
    with pytest.raises(ContractViolation, match="expected column close of bars as Float64, found no such column among symbol"):
        count(bars.drop("close"))
    with pytest.raises(ContractViolation, match="expected column volume of bars as Float64, found Int64"):
        count(bars.with_columns(pl.col("volume").cast(pl.Int64)).lazy())
    with pytest.raises(ContractViolation, match="expected bars to be a polars frame, found a dict"):
        count({})  # type: ignore[arg-type]


def test_a_method_that_needs_a_fit_says_so_before_it_runs() -> None:
    scaler = Scaler()

    with pytest.raises(ContractViolation, match=r"Scaler.apply: expected a fitted Scaler, found one without mean. Fit or load it first"):
        scaler.apply(1.0)

    scaler.mean = 0.25
    assert 0.75 == scaler.apply(1.0)


def test_a_checked_function_keeps_its_name_and_docstring() -> None:
    assert ("score", "Sum of the window, scaled.") == (score.__name__, score.__doc__)


def test_checks_import_neither_torch_nor_pandera() -> None:
    code = "import sys, data_contracts.checks; print([name for name in ('torch', 'pandera', 'pandas', 'great_expectations') if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert "[]" == answer.stdout.strip()


@pytest.mark.timeout(60)
def test_the_benchmark_prints_one_line_with_its_goal() -> None:
    answer = subprocess.run([sys.executable, "benchmarks/checks.py"], capture_output=True, text=True, check=True, cwd=ROOT)

    line = json.loads(answer.stdout)
    assert {"name", "value", "unit", "goal", "met", "detail"} == set(line)
    assert {"checks_shape", "checks_schema", "requires_fitted"} == set(line["detail"])
    assert ("checks", 20.0) == (line["name"], line["goal"])
