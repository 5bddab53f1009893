"""A book of resting orders in whole ticks and whole lots, matched by price, then by time. An iceberg shows a part and queues again for each next part.

It knows ids, sides and integers only: what an order belongs to and what a fill is worth is the exchange's business.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from configs.vocabulary import Side


class Match(NamedTuple):
    """So many lots of a resting order were taken at its price."""

    id: int
    ticks: int
    lots: int


@dataclass(slots=True)
class _Resting:
    """`shown` lots stand in the queue, `hidden` ones wait behind; an iceberg shows `slice` lots at a time (0: everything)."""

    id: int
    side: Side
    ticks: int
    shown: int
    hidden: int
    slice: int


class PriceTimeBook:
    """The resting orders of one symbol. Levels are queues in time order; a heap per side knows the best level."""

    def __init__(self) -> None:
        self._orders: dict[int, _Resting] = {}
        # A level is a dict used as an ordered queue, so that a cancel anywhere in it costs nothing.
        self._levels: dict[Side, dict[int, dict[int, _Resting]]] = {Side.BUY: {}, Side.SELL: {}}
        self._heaps: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}

    def add(self, number: int, side: Side, ticks: int, lots: int, shown: int = 0) -> None:
        """Let an order rest behind all others at its price. It must not cross; `shown` > 0 makes it an iceberg."""
        visible = min(shown, lots) if shown else lots
        resting = _Resting(number, side, ticks, visible, lots - visible, shown)
        self._orders[number] = resting
        self._queue(resting)

    def cancel(self, number: int) -> None:
        """Take an order out of the book, if it is there."""
        resting = self._orders.pop(number, None)
        if resting is not None:
            self._leave(resting)

    def best(self, side: Side) -> int | None:
        """The best price of a side in ticks, or None when nobody rests there."""
        heap, levels = self._heaps[side], self._levels[side]
        while heap and -side.sign * heap[0] not in levels:
            heapq.heappop(heap)
        return -side.sign * heap[0] if heap else None

    def take(self, side: Side, worst_ticks: int, lots: int) -> list[Match]:
        """Take up to `lots` from the resting orders of `side` whose price is `worst_ticks` or better, best first, oldest first."""
        matches: list[Match] = []
        while lots > 0 and (ticks := self._within(side, worst_ticks)) is not None:
            resting = next(iter(self._levels[side][ticks].values()))
            taken = min(lots, resting.shown)
            lots -= taken
            matches.append(Match(resting.id, ticks, taken))
            self._shrink(resting, taken)
        return matches

    def crossing(self, side: Side, worst_ticks: int) -> Iterator[int]:
        """Ids of the resting orders of `side` at `worst_ticks` or better, in no particular order."""
        return (resting.id for resting in self._orders.values() if resting.side is side and side.sign * (resting.ticks - worst_ticks) >= 0)

    def at(self, side: Side, ticks: int) -> list[int]:
        """Ids of the orders resting at one price, oldest first."""
        return list(self._levels[side].get(ticks, ()))

    def _within(self, side: Side, worst_ticks: int) -> int | None:
        ticks = self.best(side)
        return ticks if ticks is not None and side.sign * (ticks - worst_ticks) >= 0 else None

    def _shrink(self, resting: _Resting, lots: int) -> None:
        resting.shown -= lots
        if resting.shown:
            return
        self._leave(resting)
        if not resting.hidden:
            del self._orders[resting.id]
            return
        resting.shown = min(resting.slice, resting.hidden)
        resting.hidden -= resting.shown
        self._queue(resting)

    def _queue(self, resting: _Resting) -> None:
        levels = self._levels[resting.side]
        if resting.ticks not in levels:
            levels[resting.ticks] = {}
            heapq.heappush(self._heaps[resting.side], -resting.side.sign * resting.ticks)
        levels[resting.ticks][resting.id] = resting

    def _leave(self, resting: _Resting) -> None:
        level = self._levels[resting.side][resting.ticks]
        del level[resting.id]
        if not level:
            del self._levels[resting.side][resting.ticks]
