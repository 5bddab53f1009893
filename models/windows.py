"""Market data as tensors: the table on the market's clock, and the rows a network learns from on each symbol's own clock.

A symbol's own clock counts only its whole rows (a bar with every feature), exactly as the desk's session does, so a window means the same in both.
Windows are never materialised: one resident tensor, and contiguous blocks gathered from it by index.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.bars import BAR_COLUMNS, BAR_KEY
from data_contracts.checks import checks_schema, checks_shape
from desk.errors import ContractBroken
from models.scaling import Scaler

KEY_COLUMNS = {name: BAR_COLUMNS[name] for name in BAR_KEY}
CLOSE_COLUMNS = {**KEY_COLUMNS, "close": BAR_COLUMNS["close"]}


@dataclass(frozen=True, slots=True)
class Table:
    """Everything known on the union of all open_times: arrays [time, asset(, feature)], NaN where a symbol has no bar or no features.

    `labels` are log(close[t+h] / close[t]) where h = horizon_bars counts the symbol's own bars, NaN for its last h. `times` are open_times, UTC.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    closes: NDArray[np.float64]
    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    horizon_bars: int

    def whole(self) -> NDArray[np.bool_]:
        """Where a symbol has every feature, [time, asset]."""
        return np.isfinite(self.features).all(axis=2)


@checks_schema(features_frame=KEY_COLUMNS, bars_frame=CLOSE_COLUMNS)
def build(features_frame: pl.DataFrame, bars_frame: pl.DataFrame, horizon_bars: int) -> Table:
    """Lay a features frame and its bars frame (both of one timeframe) on one grid. A missing bar stays missing: nothing is filled."""
    names = tuple(column for column in features_frame.columns if column not in BAR_KEY)
    if not names or bars_frame.is_empty():
        raise ContractBroken(f"a table needs bars and at least one feature; found {bars_frame.height} bars and {len(names)} features; build the features first")
    times = np.sort(bars_frame["open_time"].unique().dt.replace_time_zone(None).dt.cast_time_unit("us").to_numpy())
    symbols = tuple(sorted(bars_frame["symbol"].unique().to_list()))
    closes = np.full((len(times), len(symbols)), np.nan)
    features = np.full((len(times), len(symbols), len(names)), np.nan, dtype=np.float32)
    closes[_cells(bars_frame, times, symbols)] = bars_frame["close"].to_numpy()
    features[_cells(features_frame, times, symbols)] = features_frame.select(pl.col(names).cast(pl.Float32)).to_numpy()
    return Table(features, _labels(closes, horizon_bars), closes, times, symbols, names, horizon_bars)


def _cells(frame: pl.DataFrame, times: NDArray[np.datetime64], symbols: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of every row of a frame; ContractBroken when a row is off the grid or two rows share a cell."""
    moments = frame["open_time"].dt.replace_time_zone(None).dt.cast_time_unit("us").to_numpy()
    rows = np.searchsorted(times, moments)
    known = frame["symbol"].is_in(list(symbols)).all() and bool((times[np.minimum(rows, len(times) - 1)] == moments).all())
    if not known or frame.select("symbol", "open_time").is_duplicated().any():
        raise ContractBroken("each features row must belong to exactly one bar; found rows without a bar or doubled rows; validate bars and rebuild features")
    columns = frame["symbol"].replace_strict({symbol: column for column, symbol in enumerate(symbols)}, return_dtype=pl.Int64).to_numpy()
    return rows, columns


def _labels(closes: NDArray[np.float64], horizon_bars: int) -> NDArray[np.float32]:
    labels = np.full(closes.shape, np.nan, dtype=np.float32)
    for asset in range(closes.shape[1]):
        own = np.flatnonzero(np.isfinite(closes[:, asset]))
        logs = np.log(closes[own, asset])
        labels[own[:-horizon_bars], asset] = logs[horizon_bars:] - logs[:-horizon_bars]
    return labels


@checks_shape(train_rows="row")
def learnable(table: Table, train_rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a label may be learned from, [time, asset]: whole features, a label, in the training rows, and ending no later than purging assumed.

    Purged folds leave horizon_bars of the market's clock behind every training row. A label that a gap stretches further would reach into the test
    span, so it counts only if the row horizon_bars before its end, and everything between, is a training row too.
    """
    n_rows = len(table.times)
    in_training = np.zeros(n_rows, dtype=bool)
    in_training[train_rows] = True
    outside = np.concatenate(([0], np.cumsum(~in_training)))
    usable = table.whole() & np.isfinite(table.labels) & in_training[:, None]
    for asset in range(len(table.symbols)):
        own = np.flatnonzero(np.isfinite(table.closes[:, asset]))
        starts, ends = own[: -table.horizon_bars], own[table.horizon_bars :]
        clean = outside[ends - table.horizon_bars + 1] == outside[starts]
        usable[starts, asset] &= clean
    return usable


@dataclass(frozen=True, slots=True)
class Rows:
    """Every whole row of every symbol, one symbol after the other, oldest first: features [row, feature] scaled, where each row sits in the table."""

    features: Tensor
    time: NDArray[np.int64]
    asset: NDArray[np.int64]

    @classmethod
    def of(cls, table: Table, scaler: Scaler) -> Rows:
        """Lay the table out along each symbol's own clock."""
        asset, time = np.nonzero(table.whole().T)
        return cls(torch.from_numpy(scaler.scale(table.features[time, asset])), time, asset)

    @checks_shape(cells="time asset")
    def take(self, cells: NDArray[np.float32] | NDArray[np.bool_]) -> Tensor:
        """Values [time, asset] of a grid at each row, [row]."""
        return torch.from_numpy(cells[self.time, self.asset])

    def first_row_of_symbol(self) -> NDArray[np.int64]:
        """Row at which the symbol of each row begins, [row]."""
        return np.searchsorted(self.asset, self.asset)


@dataclass(frozen=True, slots=True)
class Blocks:
    """What a step samples from: blocks of `block_bars` targets with lookback_bars - 1 rows of context before them, resident in memory.

    `starts` are the rows of first targets; `labels` are in training-label sds, 0 where `known` is false.
    """

    rows: Rows
    labels: Tensor
    known: Tensor
    starts: Tensor
    block_bars: int
    lookback_bars: int

    @classmethod
    def of(cls, rows: Rows, labels: Tensor, known: Tensor, *, block_bars: int, lookback_bars: int) -> Blocks:
        """Keep every start whose block stays within one symbol and has at least one known label; a short history gets shorter blocks."""
        room = np.arange(len(rows.asset)) - rows.first_row_of_symbol() - (lookback_bars - 1)
        left = np.searchsorted(rows.asset, rows.asset, side="right") - np.arange(len(rows.asset))
        longest = int(np.max(left[room >= 0], initial=0))
        block_bars = min(block_bars, longest)
        taught = np.concatenate(([0], np.cumsum(known.numpy())))
        fits = np.flatnonzero((room >= 0) & (left >= block_bars))
        starts = fits[taught[fits + block_bars] > taught[fits]]
        if not len(starts):
            raise ContractBroken(
                f"training needs a symbol with {lookback_bars} whole rows and a label inside the training rows; found none among {len(rows.asset)} rows; "
                "use a longer history or a shorter learning.lookback_bars"
            )
        clean = torch.where(known, labels, torch.zeros_like(labels))
        return cls(rows, clean, known, torch.from_numpy(starts), block_bars, lookback_bars)

    def batch(self, seed: int, step: int, n_blocks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features [block, time, feature], labels and known [block, target] of one step: a pure function of (seed, step)."""
        drawn = torch.randint(len(self.starts), (n_blocks,), generator=generator(seed, "batch", step))
        return self.at(self.starts[drawn])

    def at(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, labels and known of the blocks whose first targets are `starts`."""
        targets = starts[:, None] + torch.arange(self.block_bars)
        return self.rows.features[contexts(starts, self.block_bars, self.lookback_bars)], self.labels[targets], self.known[targets]


def contexts(starts: Tensor, n_targets: int, lookback_bars: int) -> Tensor:
    """Rows [block, time] that blocks of `n_targets` targets beginning at `starts` look at: the targets and lookback_bars - 1 rows before them."""
    return starts[:, None] + torch.arange(1 - lookback_bars, n_targets)


def generator(seed: int, purpose: str, step: int) -> torch.Generator:
    """A torch generator that depends on nothing but its arguments, so that no sampler or dropout state has to be stored."""
    digest = hashlib.sha256(f"{seed}|{purpose}|{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
