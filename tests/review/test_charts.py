"""Lines land where their values are, extremes survive thinning, and undefined stretches are not drawn."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from desk.review.charts import CANVAS, drawdown_chart, growth_chart, heat_map, share_chart


def _times(n):
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i) for i in range(n)]


def _points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_growth_starts_at_one_and_ticks_enclose_it():
    chart = growth_chart("growth", _times(3), {"ours": [200.0, 250.0, 220.0]})

    assert ["1", "1.05", "1.1", "1.15", "1.2", "1.25"] == [tick.label for tick in chart.y_ticks]
    assert [(0.0, 1000.0), (500.0, 0.0), (1000.0, 600.0)] == _points(chart.lines[0].path)
    assert "1.1" == chart.lines[0].told


def test_large_growth_is_told_on_a_log_scale():
    chart = growth_chart("growth", _times(3), {"ours": [1.0, 10.0, 100.0]})

    assert chart.logarithmic
    assert [(0.0, 1000.0), (500.0, 500.0), (1000.0, 0.0)] == _points(chart.lines[0].path)


def test_the_drawdown_is_the_loss_from_the_highest_equity_so_far():
    chart = drawdown_chart("drawdown", _times(4), {"ours": [100.0, 120.0, 60.0, 90.0]})

    assert "−50 %" == chart.lines[0].told
    assert [0.0, 0.0, CANVAS, 500.0] == [y for _, y in _points(chart.lines[0].path)]


def test_one_bad_bar_among_many_is_still_drawn():
    """Thinning keeps the lowest and highest point of each bucket."""
    equity = np.full(50_000, 100.0)
    equity[31_337] = 80.0
    chart = drawdown_chart("drawdown", _times(50_000), {"ours": equity})
    points = _points(chart.lines[0].path)

    assert CANVAS == max(y for _, y in points)
    assert len(points) < 1500


def test_undefined_values_are_not_drawn():
    chart = share_chart("exposure", _times(4), "ours", [math.nan, 0.5, math.nan, 1.0])

    assert 2 == len(_points(chart.lines[0].path))
    assert "75 %" == chart.lines[0].told


@pytest.mark.parametrize("equity", [[], [100.0], [math.nan, math.nan], [0.0, 0.0]], ids=["empty", "one", "undefined", "nothing"])
def test_nothing_to_draw_draws_nothing(equity):
    assert growth_chart("growth", _times(len(equity)), {"ours": equity}) is None
    assert drawdown_chart("drawdown", _times(len(equity)), {"ours": equity}) is None


def test_a_flat_line_has_a_scale():
    chart = growth_chart("growth", _times(3), {"flat": [5.0, 5.0, 5.0]})

    assert all(math.isfinite(y) for _, y in _points(chart.lines[0].path))


@pytest.mark.parametrize(("n", "first"), [(24, "01 Jan 00:00"), (24 * 30, "01 Jan"), (24 * 400, "Jan 2024")])
def test_dates_are_as_coarse_as_the_span(n, first):
    assert first == growth_chart("growth", _times(n), {"ours": np.linspace(1.0, 2.0, n)}).x_ticks[0].label


def test_a_heat_map_puts_large_sizes_on_top_and_long_delays_to_the_right():
    drawn = heat_map("Sharpe", {(0.5, 0.0): 1.0, (0.5, 1.0): -2.0, (1.0, 0.0): 4.0, (1.0, 1.0): math.nan}, axes=("size", "late"), chosen=(1.0, 0.0))
    cells = {(cell.left, cell.top): cell for cell in drawn.cells}

    assert (50.0, 50.0) == (drawn.width, drawn.height)
    assert ["1", "0.5"] == [tick.label for tick in drawn.y_ticks]
    assert ["0", "1"] == [tick.label for tick in drawn.x_ticks]
    assert ("4.00", 1.0, True) == (cells[0.0, 0.0].told, cells[0.0, 0.0].strength, cells[0.0, 0.0].chosen)
    assert ("−2.00", -0.5, False) == (cells[50.0, 50.0].told, cells[50.0, 50.0].strength, cells[50.0, 50.0].chosen)
    assert ("–", 0.0) == (cells[50.0, 0.0].told, cells[50.0, 0.0].strength)


@pytest.mark.parametrize("values", [{}, {(1.0, 0.0): math.nan}, {(1.0, 0.0): 0.0}], ids=["empty", "undefined", "nothing"])
def test_a_heat_map_of_nothing_is_not_drawn(values):
    assert heat_map("Sharpe", values, axes=("size", "late"), chosen=(1.0, 0.0)) is None
