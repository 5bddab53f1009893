"""Funding rates of contracts: brought up to date in the lake, and laid to the bars at whose ends they fall due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from data_contracts.dataset import DatasetRef
from desk.errors import SourceStale
from desk.market.ingest import BEGINNING
from desk.market.lake import Lake


class FundingSource(Protocol):
    """Anything that knows which rates contracts were settled at."""

    def funding(self, symbol: str, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """Pages of rates settled at or after `since` and at or before `until`, in time order, none twice, none skipped."""


def ingest_rates(source: FundingSource, lake: Lake, table: str, symbols: tuple[str, ...], until: datetime) -> DatasetRef:
    """Fetch what raw/`table` lacks of the rates settled at or before `until`, and merge it in one commit; nothing new, no new version."""
    name = f"raw/{table}"
    newest = lake.scan(name).group_by("symbol").agg(pl.col("open_time").max()).collect() if lake.history(name) else pl.DataFrame({"symbol": []})
    cursors = {symbol: last + timedelta(hours=1) for symbol, last in newest.iter_rows()} if newest.width > 1 else {}
    fetched = [page for symbol in symbols for page in source.funding(symbol, cursors.get(symbol, BEGINNING), until)]
    if not fetched and not cursors:
        raise SourceStale(f"expected funding rates of {', '.join(symbols)} settled by {until.isoformat()}, found none at the source; check the symbols")
    return lake.upsert("raw", table, pl.concat(fetched).sort("symbol", "open_time")) if fetched else lake.ref("raw", table)


def rates_due(rates: pl.DataFrame, timeframe: Timeframe) -> dict[tuple[str, datetime], float]:
    """Rates (a frame of `data_contracts.funding`) by symbol and end of the bar in which they were settled, its end included; several of one bar add up."""
    ends = rates.select("symbol", "rate", end=(pl.col("open_time") - timedelta(microseconds=1)).dt.truncate(timeframe.value) + timeframe.delta)
    due = ends.group_by("symbol", "end").agg(pl.col("rate").sum()).sort("symbol", "end")
    return {(symbol, end): rate for symbol, end, rate in due.iter_rows()}


def laid_along(due: Mapping[tuple[str, datetime], float], closed_at: NDArray[np.datetime64], symbols: tuple[str, ...]) -> NDArray[np.float64]:
    """The same rates [time, asset] by closes (datetime64[us], UTC) and symbols: 0 where none is due."""
    row = {moment: number for number, moment in enumerate(closed_at.astype("datetime64[us]").tolist())}
    laid = np.zeros((len(closed_at), len(symbols)))
    for (symbol, end), rate in due.items():
        number = row.get(end.replace(tzinfo=None))
        if number is not None and symbol in symbols:
            laid[number, symbols.index(symbol)] = rate
    return laid
