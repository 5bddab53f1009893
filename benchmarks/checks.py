"""Claim: a self-check costs less than 20 microseconds a call. Prints one JSON line; the value is the dearest of the three decorators."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.bars import BAR_COLUMNS
from data_contracts.checks import checks_schema, checks_shape, requires_fitted

GOAL_US = 20.0
CALLS = 20_000
REPEATS = 5


class Model:
    """Something fitted, with one checked method."""

    weights = 1.0

    def bare(self) -> None:
        """Do nothing."""

    @requires_fitted("weights")
    def checked(self) -> None:
        """Do nothing, after a check."""


def bare(value: Any, other: Any = None) -> None:
    """Do nothing."""


@checks_shape(window="batch time feature", target="batch 1")
def shaped(window: NDArray[np.float32], target: NDArray[np.float32]) -> None:
    """Do nothing, after a check of two arrays."""


@checks_schema(bars=BAR_COLUMNS)
def framed(bars: pl.DataFrame) -> None:
    """Do nothing, after a check of eight columns."""


def cost_us(checked: Callable[[], None], unchecked: Callable[[], None]) -> float:
    """Microseconds a call by which `checked` is dearer than `unchecked`, best of several runs."""
    best = [min(timeit.repeat(call, number=CALLS, repeat=REPEATS)) / CALLS * 1e6 for call in (checked, unchecked)]
    return best[0] - best[1]


def measure() -> dict[str, Any]:
    """The benchmark's one line: cost of each decorator and whether the dearest meets the goal."""
    window, target = np.zeros((64, 32, 8), dtype=np.float32), np.zeros((64, 1), dtype=np.float32)
    bars, model = pl.DataFrame(schema=BAR_COLUMNS), Model()
    costs = {
        "checks_shape": cost_us(lambda: shaped(window, target), lambda: bare(window, target)),
        "checks_schema": cost_us(lambda: framed(bars), lambda: bare(bars)),
        "requires_fitted": cost_us(model.checked, model.bare),
    }
    value = max(costs.values())
    return {"name": "checks", "value": round(value, 3), "unit": "us/call", "goal": GOAL_US, "met": value < GOAL_US, "detail": costs}


if __name__ == "__main__":
    print(json.dumps(measure()))
