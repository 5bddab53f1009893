"""Combinatorial paths: what they must say of a market that can be forecast, and of one that cannot."""

from __future__ import annotations

import numpy as np
import pytest

from configs.learning import LearningSettings
from models.paths import GROUPS, label_ends, path_coefficients
from models.windows import Table

BARS = 1800


@pytest.fixture
def learning() -> LearningSettings:
    return LearningSettings(horizon_bars=1)


def market(signal: float) -> Table:
    """Two assets; the first of two features explains a share of the next return that gives an information coefficient of `signal`."""
    rng = np.random.default_rng(7)
    features = rng.normal(size=(BARS, 2, 2)).astype(np.float32)
    noise = rng.normal(size=(BARS, 2))
    labels = 0.01 * (signal * features[:, :, 0] + np.sqrt(1 - signal**2) * noise)
    times = np.datetime64("2022-01-01", "us") + np.arange(BARS) * np.timedelta64(1, "h")
    return Table(features, labels.astype(np.float32), np.full((BARS, 2), 100.0), times, ("A/USDT", "B/USDT"), ("told", "noise"), 1)


def test_every_path_finds_the_planted_correlation(learning: LearningSettings) -> None:
    found = path_coefficients(market(0.3), learning).coefficients

    # the sampling sd of a correlation of .3 over 2 x 1,500 pairs is .017
    assert GROUPS - 1 == len(found)
    assert found == pytest.approx([0.3] * len(found), abs=4 * 0.017)


def test_no_path_finds_what_is_not_there(learning: LearningSettings) -> None:
    found = path_coefficients(market(0.0), learning).coefficients

    assert found == pytest.approx([0.0] * len(found), abs=4 * 0.019)


def test_the_interval_holds_the_planted_correlation_and_is_as_wide_as_its_labels_allow(learning: LearningSettings) -> None:
    """Labels of one bar touch their neighbour: 765 of 1,530 rows are independent, two assets in each; 90 % are 3.29 sds of 1 / sqrt(2 x 765)."""
    low, high = path_coefficients(market(0.3), learning).interval

    assert low < 0.3 < high
    assert pytest.approx(3.29 * (1 - 0.3**2) / np.sqrt(1530), rel=0.35) == high - low


def test_a_label_across_a_gap_ends_where_the_bars_resume() -> None:
    table = market(0.0)
    table.closes[10:20, 0] = np.nan

    ends = label_ends(table)

    assert [9, 20, 11, 12] == ends[[8, 9, 10, 11]].tolist()
    assert BARS - 1 == ends[-1]
