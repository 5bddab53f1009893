"""The port through which candles of the past reach the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import polars as pl

from configs.vocabulary import Timeframe
from desk.instruments import Instrument


class Source(Protocol):
    """Anything that lists instruments and hands out their closed bars."""

    def instruments(self) -> dict[str, Instrument]:
        """Every symbol on offer with its grid."""

    def closed_until(self, timeframe: Timeframe) -> datetime:
        """The close of the newest bar that is over by the source's own clock, UTC."""

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """Pages of raw bars opened at or after `since` and closed at or before `until`, in time order, none twice, none skipped."""
