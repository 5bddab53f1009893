"""A source with somewhere to turn to: when the first exchange is gone, the rest of a symbol's bars may come from another, which must agree first.

Another exchange's bars are another market's: near in price, unlike in volume. They are taken only after those bars that both have were compared,
one symbol at a time, and whoever asks is told before the first of them is handed out. A single failure is no reason: the first exchange is asked once
more, and when it answers, the failure is left to whoever retries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from configs.vocabulary import Timeframe
from desk.errors import ContractBroken, DeskError, SourceStale, Transient
from desk.instruments import Instrument
from desk.log import event
from desk.market.source import Source

# A day of hourly bars: enough that a stale or another market shows itself.
OVERLAP_BARS = 24
# Between large exchanges closes of the same minute differ by a few basis points; a quarter of a percent is another market.
MAX_DIVERGENCE_BPS = 25.0
BASIS_POINT = 1e-4


@dataclass(frozen=True, slots=True)
class Handover:
    """Bars of one symbol that come from another exchange: which ones, why, and how far its closes lay from ours in the bars that both have."""

    source: str
    bars: pl.DataFrame
    compared: int
    divergence_bps: float
    reason: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another exchange by name; opened only when it is needed."""

    name: str
    open: Callable[[], Source]


@dataclass(slots=True)
class FallbackSource:
    """`first`, then the others in order. `known(symbol, before)`: bars stored already, time order. `told` hears of bars that are not the first's, before they
    are handed out."""

    first: Source
    others: Sequence[Fallback]
    known: Callable[[str, datetime], pl.DataFrame]
    told: Callable[[Handover], None]
    _fetched: dict[str, pl.DataFrame] = field(default_factory=dict)

    def instruments(self) -> dict[str, Instrument]:
        """The first exchange's: orders go there."""
        return self.first.instruments()

    def closed_until(self, timeframe: Timeframe) -> datetime:
        """The first exchange's clock."""
        return self.first.closed_until(timeframe)

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """Pages of raw bars. Raises what the first exchange raised when it answers again, SourceStale when it does not and nobody can stand in."""
        cursor = since
        try:
            for page in self.first.bars(symbol, timeframe, since, until):
                self._fetched[symbol] = page.tail(OVERLAP_BARS)
                cursor = page.get_column("open_time")[-1] + timeframe.delta
                yield page
        except Transient as failure:
            if self._answers(timeframe):
                raise
            yield from self._instead(symbol, timeframe, (cursor, until), failure)

    def _answers(self, timeframe: Timeframe) -> bool:
        try:
            self.first.closed_until(timeframe)
        except Transient:
            return False
        return True

    def _instead(self, symbol: str, timeframe: Timeframe, span: tuple[datetime, datetime], failure: Transient) -> Iterator[pl.DataFrame]:
        cursor, until = span
        ours = self._fetched[symbol] if symbol in self._fetched else self.known(symbol, cursor).tail(OVERLAP_BARS)
        refusals = []
        for other in self.others:
            try:
                handover = _agreed(other, ours, (symbol, timeframe, until), str(failure))
            except DeskError as refusal:
                refusals.append(f"{other.name}: {refusal}")
                continue
            if handover.bars.height:
                self.told(handover)
                _log(symbol, handover)
                yield handover.bars
            return
        raise SourceStale(f"expected bars of {symbol} after {cursor}, found nobody to give them: {failure}; {'; '.join(refusals)}. Run it again") from failure


def _log(symbol: str, handover: Handover) -> None:
    how = {"compared": handover.compared, "divergence_bps": round(handover.divergence_bps, 2), "why": handover.reason}
    event("source.switched", level="WARNING", symbol=symbol, source=handover.source, bars=handover.bars.height, how=how)


def _agreed(other: Fallback, ours: pl.DataFrame, wanted: tuple[str, Timeframe, datetime], reason: str) -> Handover:
    """What another exchange has after our last bar; ContractBroken when it cannot be compared with us, or differs."""
    symbol, timeframe, until = wanted
    if ours.height < OVERLAP_BARS:
        raise ContractBroken(f"expected {OVERLAP_BARS} stored bars of {symbol} to compare with, found {ours.height}")
    first, last = ours.get_column("open_time")[0], ours.get_column("open_time")[-1]
    pages = list(other.open().bars(symbol, timeframe, first, until))
    theirs = pl.concat(pages) if pages else ours.clear()
    both = ours.join(theirs, on="open_time", suffix="_theirs")
    if both.height < ours.height:
        raise ContractBroken(f"expected the {ours.height} bars of {symbol} up to {last}, found {both.height} of them there")
    ratios = (both.get_column("close_theirs") / both.get_column("close")).log().abs().to_numpy()
    divergence = float(np.max(ratios)) / BASIS_POINT
    # What is no number agrees with nothing.
    if not divergence <= MAX_DIVERGENCE_BPS:
        raise ContractBroken(f"expected closes of {symbol} within {MAX_DIVERGENCE_BPS} bps of ours, found {divergence:.1f}")
    return Handover(other.name, theirs.filter(pl.col("open_time") > last), both.height, divergence, reason)
