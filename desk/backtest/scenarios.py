"""Bad days: bars rewritten so that a market crashes, falls silent or halts one symbol where it hurts most, and recorded days on which one did.

The exposures are those of the market as it was, or a stated rule: what is seen is what the book, its sizes and its guards do. What the model would have
wanted on the rewritten bars can be put in their place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from desk.backtest.panel import Panel
from desk.backtest.result import Result
from desk.backtest.robustness import Case

Floats = NDArray[np.float64]

# How long what follows is watched, bars.
WATCHED_BARS = 72
# The flash crash: this far down in so many bars, half of it back in so many; a tenth of the volume while it falls.
CRASH_DEPTH, FALLING_BARS, RECOVERING_BARS, CRASH_VOLUME = 0.5, 3, 6, 0.1
# The outage: nobody trades, then prices are this much lower.
OUTAGE_BARS, OUTAGE_FALL = 12, 0.2
# The halt: the largest position cannot be traded, then it is this much lower.
HALT_BARS, HALT_FALL = 24, 0.5
# Days that every desk remembers, UTC; watched for three days.
RECORDED_DAYS = (np.datetime64("2020-03-12", "us"), np.datetime64("2021-05-19", "us"))
DAYS_WATCHED, DAYS_BEFORE = np.timedelta64(3, "D"), np.timedelta64(7, "D")


@dataclass(frozen=True)
class Scenario:
    """A case in which something happens from row `begins` on; `said` tells what, and whose exposures are played."""

    name: str
    said: str
    case: Case
    begins: int
    ends: int
    made_up: bool = False

    def answered(self, wanted: Floats) -> Scenario:
        """The same, with exposures `wanted` [time, asset] from the first row on that could be known to differ; NaN rows before do not matter."""
        targets = self.case.targets.copy()
        targets[self.begins :] = wanted[self.begins :]
        return replace(self, name=f"{self.name}, answered", said="the model decides on what it sees", case=replace(self.case, targets=targets))


@dataclass(frozen=True, slots=True)
class Toll:
    """What a scenario took: gross exposure before it, largest loss and loss at the end (fractions of the equity before), orders refused by guard,
    smallest equity per unit of gross position (nan: nothing was held)."""

    name: str
    said: str
    exposure: float
    worst_loss: float
    final_loss: float
    refused: Mapping[str, int]
    worst_margin: float


def scenarios(case: Case, recorded: Panel | None) -> Iterator[Scenario]:
    """The made-up ones, where the case holds most (none if it never holds anything), then the days on record that `recorded` covers.

    `recorded` are all bars of a real market, the case's own among them, or None.
    """
    row, column = worst_moment(case)
    if row < len(case.bars.times) - 1 and np.any(case.result.positions[row - 1]):
        halting = case.bars.symbols[column]
        crash = f"everything falls by {_percent(CRASH_DEPTH)} in {FALLING_BARS} bars on a tenth of the volume, and half of it comes back"
        yield _made_up(case, flash_crash(case.bars, row), row, ("flash crash", crash))
        yield _made_up(case, outage(case.bars, row), row, ("outage", f"no bar for {OUTAGE_BARS} bars, then everything opens {_percent(OUTAGE_FALL)} lower"))
        yield _made_up(case, halt(case.bars, row, column), row, ("halt", f"{halting} halts for {HALT_BARS} bars and opens {_percent(HALT_FALL)} lower"))
    if recorded is not None:
        found = (_own_day(case, day) or _ruled_day(case, recorded, day) for day in RECORDED_DAYS)
        yield from (each for each in found if each is not None)


def toll(scenario: Scenario) -> Toll:
    """Play it."""
    result, begins, ends = scenario.case.result, scenario.begins, scenario.ends
    before, during = float(result.equity[begins - 1]), result.equity[begins:ends]
    gross = gross_positions(scenario.case.bars, result)
    held = gross[begins - 1 : ends] > 0
    margins = result.equity[begins - 1 : ends][held] / gross[begins - 1 : ends][held]
    times = result.refusals["time"].dt.replace_time_zone(None).to_numpy()
    stopped = result.refusals.filter((times >= result.times[begins - 1]) & (times <= result.times[ends - 1]))
    return Toll(
        name=scenario.name,
        said=scenario.said,
        exposure=float(gross[begins - 1] / before),
        worst_loss=float(max(1 - during.min() / before, 0.0)),
        final_loss=float(1 - during[-1] / before),
        refused={str(guard): int(count) for guard, count in stopped["guard"].value_counts(sort=True).iter_rows()},
        worst_margin=float(margins.min()) if len(margins) else math.nan,
    )


def gross_positions(bars: Panel, result: Result) -> Floats:
    """Sum of absolute positions at each close, in quote [time]; a symbol without a bar counts at its last close."""
    known = np.maximum.accumulate(np.where(np.isnan(bars.close), 0, np.arange(len(bars.close))[:, None]), axis=0)
    gross: Floats = np.nansum(np.abs(result.positions) * np.take_along_axis(bars.close, known, axis=0), axis=1)
    return gross


def worst_moment(case: Case) -> tuple[int, int]:
    """The row after the close at which the gross position was the largest share of equity, and the column of the largest position then."""
    result = case.result
    share = gross_positions(case.bars, result) / result.equity
    # Room for what follows, where there is any.
    row = int(np.argmax(share[: max(len(share) - WATCHED_BARS, 1)])) + 1
    held = np.nan_to_num(np.abs(result.positions[row - 1]) * case.bars.close[row - 1])
    return row, int(np.argmax(held))


def frame_of(bars: Panel, timeframe: Timeframe) -> pl.DataFrame:
    """A bars frame of a panel, one row for every bar there is."""
    names = ("open", "high", "low", "close", "volume")
    rows, columns = np.nonzero(np.isfinite(bars.close))
    return pl.DataFrame(
        {
            "symbol": pl.Series(bars.symbols, dtype=pl.String).gather(columns),
            "timeframe": pl.repeat(str(timeframe), len(rows), eager=True),
            "open_time": pl.Series(bars.times[rows].astype("datetime64[us]")).dt.replace_time_zone("UTC"),
            **{name: getattr(bars, name)[rows, columns] for name in names},
        }
    ).sort("symbol", "open_time")


def flash_crash(bars: Panel, row: int) -> Panel:
    """Everything falls from `row` on; the bars join on to each other, so there is a price at every instant."""
    level = np.ones(len(bars.times))
    falling, recovering = np.arange(1, FALLING_BARS + 1), np.arange(1, RECOVERING_BARS + 1)
    path = np.concatenate([(1 - CRASH_DEPTH) ** (falling / FALLING_BARS), 1 - CRASH_DEPTH + CRASH_DEPTH / 2 * recovering / RECOVERING_BARS])
    level[row:] = 1 - CRASH_DEPTH / 2
    level[row : row + len(path)] = path[: len(level) - row]
    before = np.concatenate(([1.0], level[:-1]))
    volume = bars.volume.copy()
    volume[row : row + FALLING_BARS] *= CRASH_VOLUME
    return _scaled(bars, before[:, None], level[:, None], volume)


def outage(bars: Panel, row: int) -> Panel:
    """No symbol has a bar, then all are lower."""
    return _silenced(bars, row, slice(None), (OUTAGE_BARS, OUTAGE_FALL))


def halt(bars: Panel, row: int, column: int) -> Panel:
    """One symbol has no bar, then it is lower."""
    return _silenced(bars, row, slice(column, column + 1), (HALT_BARS, HALT_FALL))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _silenced(bars: Panel, row: int, columns: slice, how: tuple[int, float]) -> Panel:
    length, fall = how
    level = np.ones(bars.close.shape)
    level[row:, columns] = 1 - fall
    scaled = _scaled(bars, level, level, bars.volume)
    arrays = {name: getattr(scaled, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for array in arrays.values():
        array[row : row + length, columns] = np.nan
    return replace(scaled, **arrays)


def _scaled(bars: Panel, opens: Floats, closes: Floats, volume: Floats) -> Panel:
    """Prices times a level at the open and one at the close."""
    high, low = bars.high * np.maximum(opens, closes), bars.low * np.minimum(opens, closes)
    return replace(bars, open=bars.open * opens, high=high, low=low, close=bars.close * closes, volume=volume)


def _made_up(case: Case, bars: Panel, row: int, told: tuple[str, str]) -> Scenario:
    name, said = told
    # Where there is no bar there is no close to decide at.
    targets = np.where(np.isnan(bars.close), np.nan, case.targets)
    return Scenario(name, said, replace(case, bars=bars, targets=targets), row, min(row + WATCHED_BARS, len(bars.times)), made_up=True)


def _own_day(case: Case, day: np.datetime64) -> Scenario | None:
    """A recorded day within the tested bars: the exposures are the model's own."""
    begins, ends = np.searchsorted(case.bars.times, [day, day + DAYS_WATCHED])
    if not 0 < begins < ends:
        return None
    return Scenario(str(day.astype("datetime64[D]")), "the recorded bars, with the model's own exposures", case, int(begins), int(ends))


def _ruled_day(case: Case, recorded: Panel, day: np.datetime64) -> Scenario | None:
    """A recorded day before the tested bars: fully invested from a week before, and never told otherwise."""
    first, begins, ends = np.searchsorted(recorded.times, [day - DAYS_BEFORE, day, day + DAYS_WATCHED])
    if not first + 1 < begins < ends:
        return None
    traded = np.isfinite(recorded.close[first])
    if not traded.any():
        return None
    columns = {name: getattr(recorded, name)[first:ends, traded] for name in ("open", "high", "low", "close", "volume")}
    symbols = tuple(symbol for symbol, there in zip(recorded.symbols, traded, strict=True) if there)
    bars = replace(recorded, times=recorded.times[first:ends], symbols=symbols, **columns, before=recorded.close[:first, traded])
    targets = np.where(np.isnan(bars.close), np.nan, 1.0)
    ruled = replace(case, bars=bars, targets=targets, funding=None)
    said = "the recorded bars, fully invested at every close since a week before"
    return Scenario(str(day.astype("datetime64[D]")), said, ruled, int(begins - first), int(ends - first))
