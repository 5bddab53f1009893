"""What a backtest leaves behind: one value, one folder, and the question whether two of them tell the same story."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from desk.disk import write_whole
from desk.errors import BadFile

if TYPE_CHECKING:
    import polars as pl

# Two implementations may add the same numbers in another order; more than this is another story.
_EQUITY_TOLERANCE = 1e-12
# Sums of many costs are rounded more often than a mark is.
_COST_TOLERANCE = 1e-9
# The file without which a folder is no result.
_WORDS = "result.json"


class Detail(Protocol):
    """The parts of a result that take long to lay out: the kernel does it when they are asked for."""

    @property
    def fills(self) -> pl.DataFrame:
        """Rows as in `desk.backtest.frames.FILLS`."""

    @property
    def refusals(self) -> pl.DataFrame:
        """Rows as in `desk.backtest.frames.REFUSALS`."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Base units [time, asset]."""

    @property
    def costs(self) -> Mapping[str, float]:
        """Quote over the whole span, by kind."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """What this was computed from, by name."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A `Detail` that is laid out already."""

    fills: pl.DataFrame
    refusals: pl.DataFrame
    positions: NDArray[np.float64]
    costs: Mapping[str, float] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """`times` are closes (datetime64[us], UTC [time]); equity in quote [time]; positions in base units [time, asset], both after that close.

    A fill's time is the open it executed at, a refusal's the close it was decided at. `lots` and `ticks` are unsigned; quantity in base,
    price and fee in quote. `assumptions` says under what this was computed.
    """

    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    equity: NDArray[np.float64]
    detail: Detail
    measures: Mapping[str, float]
    assumptions: dict[str, str]

    @property
    def fills(self) -> pl.DataFrame:
        """Every execution."""
        return self.detail.fills

    @property
    def refusals(self) -> pl.DataFrame:
        """Every order that a guard stopped."""
        return self.detail.refusals

    @property
    def positions(self) -> NDArray[np.float64]:
        """What was held after each close [time, asset]."""
        return self.detail.positions

    @property
    def costs(self) -> Mapping[str, float]:
        """What trading and holding cost, in quote: fees, spread, impact, funding (below 0: received), liquidation. Spread and impact are in the prices."""
        return self.detail.costs

    @property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of the bars, the targets, the settings and the code that this was computed from."""
        return self.detail.hashes

    def save(self, folder: Path) -> None:
        """Write the bundle: parquet for arrays and frames, JSON for words and measures (nan as null). One that was there is replaced.

        A bundle holds when its JSON is there: it goes first and comes last, so that whoever is stopped half-way leaves nothing that loads as two results.
        """
        import polars as pl  # late: it takes longer than a whole run

        folder.mkdir(parents=True, exist_ok=True)
        (folder / _WORDS).unlink(missing_ok=True)
        time = pl.Series("time", self.times).dt.replace_time_zone("UTC")
        pl.DataFrame([time, pl.Series("equity", self.equity)]).write_parquet(folder / "equity.parquet")
        pl.DataFrame({symbol: self.positions[:, column] for column, symbol in enumerate(self.symbols)}).write_parquet(folder / "positions.parquet")
        self.fills.write_parquet(folder / "fills.parquet")
        self.refusals.write_parquet(folder / "refusals.parquet")
        measures = {name: value if math.isfinite(value) else None for name, value in self.measures.items()}
        told = {"measures": measures, "assumptions": self.assumptions, "costs": dict(self.costs), "hashes": dict(self.hashes)}
        words = json.dumps(told, indent=1, allow_nan=False)
        write_whole(folder / _WORDS, words + "\n")

    @classmethod
    def load(cls, folder: Path) -> Result:
        """Read a bundle back. An infinite measure comes back as nan: JSON knows neither."""
        import polars as pl  # late: it takes longer than a whole run

        try:
            equity, positions = pl.read_parquet(folder / "equity.parquet"), pl.read_parquet(folder / "positions.parquet")
            fills, refusals = pl.read_parquet(folder / "fills.parquet"), pl.read_parquet(folder / "refusals.parquet")
            words = json.loads((folder / _WORDS).read_text(encoding="utf-8"))
            return cls(
                times=equity["time"].dt.replace_time_zone(None).to_numpy(),
                symbols=tuple(positions.columns),
                equity=equity["equity"].to_numpy(),
                detail=Frames(fills, refusals, positions.to_numpy(), words["costs"], words["hashes"]),
                measures={name: math.nan if value is None else value for name, value in words["measures"].items()},
                assumptions=words["assumptions"],
            )
        # A KeyError: a file of another version, or cut short and mended by hand.
        except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
            raise BadFile(f"expected a backtest result in {folder}, found {error!r}: run the backtest again") from error


def first_difference(a: Result, b: Result) -> str | None:
    """Where two results part: marks, then fills (bar, symbol, side, lots, ticks), refusals, equity to 1e-12 relative, costs by kind. None: they do not.

    Costs are compared where both tell them. Hashes are not: the same story may come from other code.
    """
    if not np.array_equal(a.times, b.times):
        return f"marks differ: {len(a.times)} from {a.times[:1]} against {len(b.times)} from {b.times[:1]}"
    fills = ("time", "symbol", "side", "lots", "ticks")
    refusals = ("time", "symbol", "guard")
    return (
        _first_row("fill", a.fills.select(fills), b.fills.select(fills))
        or _first_row("refusal", a.refusals.select(refusals), b.refusals.select(refusals))
        or _first_mark(a, b)
        or _first_cost(a, b)
    )


def _first_row(kind: str, a: pl.DataFrame, b: pl.DataFrame) -> str | None:
    for number, (one, other) in enumerate(zip(a.iter_rows(), b.iter_rows(), strict=False)):
        if one != other:
            return f"{kind} {number} differs: {one} against {other}"
    if len(a) != len(b):
        longer = a if len(a) > len(b) else b
        shorter = min(len(a), len(b))
        return f"{len(a)} {kind}s against {len(b)}; the first without a twin is {longer.row(shorter)}"
    return None


def _first_mark(a: Result, b: Result) -> str | None:
    apart = np.flatnonzero(~np.isclose(a.equity, b.equity, rtol=_EQUITY_TOLERANCE, atol=0.0, equal_nan=True))
    if not len(apart):
        return None
    first = int(apart[0])
    return f"equity differs at {a.times[first]}: {a.equity[first]!r} against {b.equity[first]!r}"


def _first_cost(a: Result, b: Result) -> str | None:
    least = _EQUITY_TOLERANCE * abs(float(a.equity[0])) if len(a.equity) else 0.0
    for kind in sorted(a.costs.keys() & b.costs.keys()):
        one, other = a.costs[kind], b.costs[kind]
        if not math.isclose(one, other, rel_tol=_COST_TOLERANCE, abs_tol=least):
            return f"costs by {kind} differ: {one!r} against {other!r}"
    return None
