"""Bring a table of raw bars up to date from a source: an own cursor per symbol, one idempotent upsert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from configs.vocabulary import Timeframe
from data_contracts.dataset import DatasetRef
from desk.errors import SourceStale
from desk.market.lake import Lake
from desk.market.source import Source

# Before the first exchange listed anything: a cursor from here asks for everything there is.
BEGINNING = datetime(2010, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bars a table must hold: those of `symbols` that closed at or before `until`."""

    table: str
    symbols: tuple[str, ...]
    timeframe: Timeframe
    until: datetime


def ingest(source: Source, lake: Lake, wanted: Wanted) -> DatasetRef:
    """Fetch what the raw table lacks and merge it in one commit; nothing new, no new version.

    Raises SourceStale when the source has no bar at all, and whatever the source raises: a retry starts from the same cursor.
    """
    cursors = _cursors(lake, wanted)
    fetched = [page for symbol in wanted.symbols for page in source.bars(symbol, wanted.timeframe, cursors.get(symbol, BEGINNING), wanted.until)]
    frame = pl.concat(fetched) if fetched else _nothing(lake, wanted)
    return lake.upsert("raw", wanted.table, frame.sort("symbol", "open_time"))


def _cursors(lake: Lake, wanted: Wanted) -> dict[str, datetime]:
    """The open time of the first bar not yet stored, by symbol."""
    if not lake.history(f"raw/{wanted.table}"):
        return {}
    newest = lake.scan(f"raw/{wanted.table}").group_by("symbol").agg(pl.col("open_time").max()).collect()
    step: timedelta = wanted.timeframe.delta
    return {symbol: last + step for symbol, last in newest.iter_rows()}


def _nothing(lake: Lake, wanted: Wanted) -> pl.DataFrame:
    """No page came: an empty frame is only right when the table has rows already."""
    if not lake.history(f"raw/{wanted.table}"):
        expected = f"bars of {_listed(wanted.symbols)} closed by {wanted.until.isoformat()}"
        raise SourceStale(f"expected {expected}, found none at the source; check symbols and timeframe {wanted.timeframe}")
    return lake.scan(f"raw/{wanted.table}").head(0).collect()


def _listed(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")
