"""The house policy, case by case."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from configs.trading import PolicySettings
from desk.events import Forecast
from desk.strategy.band import BandPolicy
from desk.strategy.policy import View

AT = datetime(2024, 1, 1, tzinfo=UTC)


def view(mean: float | None, previous: float = 0.0, sd: float = 1.0) -> View:
    forecast = None if mean is None else Forecast("A/USDT", AT, mean, sd, "weights")
    return View("A/USDT", AT, np.ones(1), np.zeros(0, dtype=np.float32), forecast, previous)


@pytest.mark.parametrize(
    ("mean", "previous", "expected"),
    [
        (0.21, 0.0, 1.0),
        (0.20, 0.0, 0.0),  # the edge itself does not clear
        (0.15, 1.0, 1.0),  # between exit and entry: as before
        (0.15, 0.0, 0.0),
        (0.10, 1.0, 1.0),
        (0.09, 1.0, 0.0),
        (-0.9, 1.0, 0.0),
        (-0.9, 0.0, 0.0),  # no shorts unless allowed
        (math.nan, 1.0, 0.0),
        (None, 1.0, 0.0),
    ],
)
def test_long_above_entry_until_below_exit(mean: float | None, previous: float, expected: float) -> None:
    policy = BandPolicy(PolicySettings(entry=0.2, exit=0.1))

    assert expected == policy.target(view(mean, previous))


@pytest.mark.parametrize(
    ("mean", "previous", "expected"), [(-0.21, 0.0, -1.0), (-0.15, -1.0, -1.0), (-0.15, 1.0, 0.0), (-0.09, -1.0, 0.0), (0.21, -1.0, 1.0), (-0.21, 1.0, -1.0)]
)
def test_shorts_mirror_longs_where_they_are_allowed(mean: float, previous: float, expected: float) -> None:
    policy = BandPolicy(PolicySettings(entry=0.2, exit=0.1, allow_short=True))

    assert expected == policy.target(view(mean, previous))


@pytest.mark.parametrize("sd", [0.0, -1.0, math.nan])
def test_a_forecast_without_a_spread_is_no_opinion(sd: float) -> None:
    assert BandPolicy(PolicySettings()).target(view(5.0, 1.0, sd)) == 0.0
