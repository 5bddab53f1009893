"""Line charts as numbers for an inline SVG that stretches: the page draws the lines, its own text labels the axes and stays readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

# Coordinates run 0 to this in both directions; the page stretches the drawing to its width.
CANVAS = 1000
# A bucket keeps its lowest and highest point: more buckets than this are not visible on any screen.
BUCKETS = 360
# Growth beyond this is told on a log scale, where equal steps are equal returns.
LOG_SCALE_FROM = 4.0
TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, its path on the canvas, and the value the legend tells."""

    name: str
    path: str
    told: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a share of the axis: from the top for y, from the left for x."""

    percent: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What the page needs to draw one chart. `area` is the first line closed along zero, or empty."""

    title: str
    lines: tuple[Line, ...]
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    area: str
    logarithmic: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle of a heat map, percent of its width and height from the top left, the value in words, and its strength: -1 (worst) to 1 (best)."""

    left: float
    top: float
    told: str
    strength: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class HeatMap:
    """What the page needs to draw a table of values as colours; every cell is `width` by `height` percent."""

    title: str
    cells: tuple[Cell, ...]
    width: float
    height: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str


def heat_map(title: str, values: Mapping[tuple[float, float], float], *, axes: tuple[str, str], chosen: tuple[float, float]) -> HeatMap | None:
    """`values` by (y, x), y growing upwards; `axes` names y and x. Colour tells a value's size and sign, so that equal values look equal; None without one."""
    ys, xs = sorted({y for y, _ in values}, reverse=True), sorted({x for _, x in values})
    largest = max((abs(value) for value in values.values() if math.isfinite(value)), default=0.0)
    if not largest > 0:
        return None
    width, height = 100.0 / len(xs), 100.0 / len(ys)
    cells = tuple(
        Cell(
            round(width * xs.index(x), 3), round(height * ys.index(y), 3), _as_number(value), value / largest if math.isfinite(value) else 0.0, (y, x) == chosen
        )
        for (y, x), value in values.items()
    )
    y_ticks = tuple(Tick(round(height * (row + 0.5), 2), _signed(f"{y:g}")) for row, y in enumerate(ys))
    x_ticks = tuple(Tick(round(width * (column + 0.5), 2), _signed(f"{x:g}")) for column, x in enumerate(xs))
    return HeatMap(title, cells, width, height, x_ticks, y_ticks, axes[1], axes[0])


def growth_chart(title: str, times: Sequence[datetime], equity: Mapping[str, Sequence[float]]) -> Chart | None:
    """Growth of one unit of equity per strategy; None when there is nothing to draw."""
    growth = {name: _growth(values) for name, values in equity.items()}
    return _chart(title, times, growth, lambda value: f"{value:.3g}" if value < 1000 else f"{value:,.0f}", may_be_logarithmic=True)


def drawdown_chart(title: str, times: Sequence[datetime], equity: Mapping[str, Sequence[float]]) -> Chart | None:
    """Loss from the highest equity so far, fraction, per strategy; the legend tells the worst."""
    below = {name: _growth(values) / np.fmax.accumulate(_growth(values)) - 1.0 if len(values) else _growth(values) for name, values in equity.items()}
    return _chart(title, times, below, _as_percent, with_area=True, told=np.nanmin)


def share_chart(title: str, times: Sequence[datetime], name: str, shares: Sequence[float]) -> Chart | None:
    """A fraction over time, such as exposure, filled from zero; the legend tells the mean."""
    return _chart(title, times, {name: np.asarray(shares, dtype=np.float64)}, _as_percent, with_area=True, told=np.nanmean)


def _as_percent(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{100 * value + 0.0:.0f} %".replace("-", "\N{MINUS SIGN}")


def _as_number(value: float) -> str:
    return _signed(f"{value + 0.0:.2f}") if math.isfinite(value) else "–"


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _growth(equity: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(equity, dtype=np.float64)
    finite = values[np.isfinite(values)]
    return values / finite[0] if len(finite) and finite[0] > 0 else np.full(len(values), np.nan)


@dataclass(frozen=True, slots=True)
class _Scale:
    """The vertical axis: values between `low` and `high`, in logs or not."""

    low: float
    high: float
    logarithmic: bool

    def from_top(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the axis from the top, 0 at `high`, 1 at `low`."""
        if self.logarithmic:
            return np.asarray((math.log(self.high) - np.log(values)) / math.log(self.high / self.low))
        return np.asarray((self.high - values) / (self.high - self.low))


def _last(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else math.nan


def _chart(
    title: str,
    times: Sequence[datetime],
    series: Mapping[str, NDArray[np.float64]],
    label: Callable[[float], str],
    *,
    told: Callable[[NDArray[np.float64]], float] = _last,
    with_area: bool = False,
    may_be_logarithmic: bool = False,
) -> Chart | None:
    finite = np.concatenate([values[np.isfinite(values)] for values in series.values()]) if series else np.array([])
    if len(times) < 2 or not len(finite):
        return None
    logarithmic = may_be_logarithmic and finite.min() > 0 and finite.max() / finite.min() > LOG_SCALE_FROM
    ticks = _log_ticks(finite) if logarithmic else _linear_ticks(np.append(finite, 0.0) if with_area else finite)
    scale = _Scale(min(ticks[0], float(finite.min())), max(ticks[-1], float(finite.max())), logarithmic)
    lines = tuple(Line(name, _path(values, scale), label(float(told(values)))) for name, values in series.items())
    tops = scale.from_top(np.array(ticks))
    y_ticks = tuple(Tick(round(100.0 * float(top), 2), label(value)) for value, top in zip(ticks, tops, strict=True))
    area = _area(lines[0].path, float(scale.from_top(np.array([0.0]))[0])) if with_area else ""
    return Chart(title, lines, y_ticks, _time_ticks(times), area, logarithmic)


def _path(values: NDArray[np.float64], scale: _Scale) -> str:
    """SVG path of a series: the lowest and the highest point of each bucket in the order they came; undefined stretches are left out."""
    kept: list[int] = []
    for bucket in np.array_split(np.flatnonzero(np.isfinite(values)), min(BUCKETS, len(values))):
        if len(bucket):
            kept += sorted({int(bucket[values[bucket].argmin()]), int(bucket[values[bucket].argmax()]), int(bucket[-1])})
    across = np.array(kept) * (CANVAS / max(len(values) - 1, 1))
    down = scale.from_top(values[kept]) * CANVAS
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down, strict=True)) if kept else ""


def _area(path: str, zero: float) -> str:
    """The line's path closed along the zero line."""
    points = path.removeprefix("M").split("L")
    return f"{path}L{points[-1].split()[0]} {zero * CANVAS:.1f}L{points[0].split()[0]} {zero * CANVAS:.1f}Z" if path else ""


def _linear_ticks(values: NDArray[np.float64]) -> list[float]:
    """Round values 1, 2 or 5 times a power of ten apart that enclose the data."""
    low, high = float(values.min()), float(values.max())
    span = (high - low) or max(abs(high), 1.0) * 0.1
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * TICKS >= span)
    first = math.floor(low / step + 1e-9)
    count = max(math.ceil(high / step - 1e-9) - first, 1)
    return [(first + index) * step for index in range(count + 1)]


def _log_ticks(values: NDArray[np.float64]) -> list[float]:
    """1, 2 and 5 times powers of ten that enclose the data; powers of ten alone when that were too many."""
    low, high = float(values.min()), float(values.max())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        ladder = [factor * 10.0**decade for decade in decades for factor in factors]
        below, above = [x for x in ladder if x <= low * (1 + 1e-9)], [x for x in ladder if x >= high * (1 - 1e-9)]
        ticks = [x for x in ladder if below[-1] <= x <= above[0]]
        if len(ticks) <= 2 * TICKS:
            break
    return ticks


def _time_ticks(times: Sequence[datetime]) -> tuple[Tick, ...]:
    """Four dates at equal distances along the bars, as coarse as the span allows."""
    days = (times[-1] - times[0]).days
    form = "%b %Y" if days > 120 else "%d %b" if days > 3 else "%d %b %H:%M"
    return tuple(Tick(round(100.0 * part / 3, 2), times[round((len(times) - 1) * part / 3)].strftime(form)) for part in range(4))
