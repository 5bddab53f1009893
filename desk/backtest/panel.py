"""Bars as arrays [time, asset]: what the kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from desk.errors import ContractBroken
from desk.execution.perpetual import FUNDING_HOURS

if TYPE_CHECKING:
    import polars as pl

_PRICES = ("open", "high", "low", "close", "volume")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Bars of one timeframe. `times` are open times (datetime64[us], UTC, ascending); the arrays are [time, asset], NaN where there is no bar.

    Prices in quote, volume in base units. Without a `timeframe` a bar is as long as the smallest step between two rows. `before` are the closes
    [time, asset] of earlier bars, that are known when the first row begins.
    """

    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    timeframe: Timeframe | None = None
    before: Floats | None = None

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.symbols))
        found = {name: getattr(self, name).shape for name in _PRICES}
        if set(found.values()) != {shape}:
            raise ContractBroken(f"expected arrays [time, asset] of shape {shape}, found {found}: one row per time, one column per symbol")
        if self.before is not None and self.before.shape[1:] != shape[1:]:
            raise ContractBroken(f"expected earlier closes of {shape[1]} symbols, found an array of shape {self.before.shape}: one column per symbol")
        if not shape[0] or not shape[1]:
            raise ContractBroken("expected at least one bar, found none: check the span and the symbols asked for")
        if (np.diff(self.times) <= np.timedelta64(0, "us")).any():
            raise ContractBroken("expected ascending times, found a step back or a repeated one: sort and deduplicate the bars")
        if len(set(self.symbols)) < shape[1]:
            raise ContractBroken(f"expected every symbol once, found {', '.join(self.symbols)}: one column per symbol")
        for name in _PRICES:
            self._insist_on_numbers(name, getattr(self, name))

    def _insist_on_numbers(self, name: str, found: Floats) -> None:
        """Prices of a bar are above 0 and finite, its volume not below 0 (NaN: not known). What stands where no close does is not looked at."""
        least, most = found.min(), found.max()
        if most < np.inf and (least > 0 or (least == 0 and name == "volume")):
            return
        good = (found > 0) & (found < np.inf) if name != "volume" else ~((found < 0) | (found == np.inf))
        wrong = np.argwhere(~good & ~np.isnan(self.close))
        if len(wrong):
            row, column = wrong[0]
            raise ContractBroken(
                f"expected prices above 0 and volumes of at least 0, found {name} {found[row, column]:g} in {len(wrong)} bars, "
                f"first of {self.symbols[column]} at {self.times[row]}: correct the bars, or make all of such a bar NaN"
            )

    @classmethod
    def from_frame(cls, bars: pl.DataFrame) -> Panel:
        """From a bars frame of one timeframe, in any row order. Columns come out in symbol order."""
        timeframes = bars["timeframe"].unique().to_list()
        if len(timeframes) != 1:
            raise ContractBroken(f"expected bars of exactly one timeframe, found {sorted(timeframes)}: filter the frame first")
        times, symbols = bars["open_time"].unique().sort(), bars["symbol"].unique().sort()
        row = times.search_sorted(bars["open_time"]).to_numpy()
        column = symbols.search_sorted(bars["symbol"]).to_numpy()
        cells = np.zeros((len(times), len(symbols)), dtype=np.int64)
        np.add.at(cells, (row, column), 1)
        if cells.max() > 1:
            raise ContractBroken(f"expected one bar per symbol and open time, found {int((cells > 1).sum())} doubled: deduplicate the frame")
        arrays = {}
        for name in _PRICES:
            arrays[name] = np.full(cells.shape, np.nan)
            arrays[name][row, column] = bars[name].to_numpy()
        return cls(times.dt.cast_time_unit("us").dt.replace_time_zone(None).to_numpy(), tuple(symbols.to_list()), **arrays, timeframe=Timeframe(timeframes[0]))

    def since(self, opened: datetime, known: int) -> Panel:
        """The bars that opened at `opened` (UTC) or later; of the last `known` rows before them the closes are kept."""
        first = int(np.searchsorted(self.times, np.datetime64(opened.replace(tzinfo=None), "us")))
        later = {name: getattr(self, name)[first:] for name in _PRICES}
        return Panel(self.times[first:], self.symbols, **later, timeframe=self.timeframe, before=self.close[max(first - known, 0) : first])

    @cached_property
    def dense(self) -> bool:
        """Whether every symbol has a bar in every row."""
        return not np.isnan(self.close).any()

    @cached_property
    def extremes(self) -> tuple[Floats, Floats]:
        """The lowest and the highest close of every symbol [asset]; NaN for one without a bar."""
        return np.fmin.reduce(self.close), np.fmax.reduce(self.close)

    @cached_property
    def busiest(self) -> Floats:
        """The largest volume of every symbol [asset]; NaN for one without a bar."""
        most: Floats = np.fmax.reduce(self.volume)
        return most

    @cached_property
    def new_days(self) -> NDArray[np.int64]:
        """The rows whose close is the first of its UTC day, then a row that never comes."""
        days = self.closed_at.astype("datetime64[D]").astype(np.int64)
        return np.append(np.flatnonzero(np.diff(days, prepend=days[0] - 1)), np.iinfo(np.int64).max)

    @cached_property
    def bar_length(self) -> np.timedelta64:
        """Length of one bar."""
        if self.timeframe is not None:
            return np.timedelta64(self.timeframe.milliseconds * 1000, "us")
        if len(self.times) < 2:
            raise ContractBroken("expected a timeframe or at least two rows to tell how long a bar is, found one row: name the timeframe")
        smallest: np.timedelta64 = np.diff(self.times.astype("datetime64[us]")).min()
        return smallest

    @cached_property
    def closed_at(self) -> NDArray[np.datetime64]:
        """When each row may be known: datetime64[us], UTC [time]."""
        closed_at: NDArray[np.datetime64] = np.add(self.times.astype("datetime64[us]"), self.bar_length)
        return closed_at

    @cached_property
    def settlements(self) -> tuple[NDArray[np.int64], Floats]:
        """The rows whose bars contain funding instants (every eight hours UTC), their ends included, and how many each."""
        period = np.int64(FUNDING_HOURS * 3_600_000_000)
        ends = self.closed_at.astype(np.int64)
        counts = ends // period - (ends - self.bar_length.astype("timedelta64[us]").astype(np.int64)) // period
        rows = np.flatnonzero(counts)
        return rows, counts[rows].astype(np.float64)

    @property
    def bars_per_year(self) -> float:
        """Rows in a year of 365 days."""
        return float(np.timedelta64(365, "D") / self.bar_length)
