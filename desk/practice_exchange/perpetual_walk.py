"""A bar walked along its path: which resting and conditional orders meet it, in the order in which the path meets them.

The path is open, the nearer extreme, the other one, close: low first in a bar that rises, high first in one that falls. A limit order fills, at its
own price, when the path trades through it; a conditional one is reached at its price.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from desk.practice_exchange.path import path_of
from desk.practice_exchange.perpetual_book import Change
from desk.practice_exchange.perpetual_dealing import ContractDealing
from desk.practice_exchange.perpetual_orders import ContractOrder, Watch


class Walk:
    """One bar of one symbol, opened at `open_ms` and reported at `at_ms`."""

    def __init__(self, dealing: ContractDealing, change: Change, symbol: str, open_ms: int, at_ms: int) -> None:
        self._dealing = dealing
        self._change = change
        self._symbol = symbol
        self._open_ms = open_ms
        self._at_ms = at_ms

    def closed(self, row: int) -> None:
        """The bar of this row has closed: everything resting meets its path."""
        candles = self._dealing.tape.candles[self._symbol]
        prices = (Decimal(str(float(column[row]))) for column in (candles.open, candles.high, candles.low, candles.close))
        path = path_of(*prices)
        for start, end in ((path[0], path[0]), *pairwise(path)):
            self._segment(start, end)

    def opened(self, price: Decimal, mark: Decimal) -> None:
        """The bar has just opened here, at this mark price: what was jumped over is triggered at the open."""
        for watch in self._dealing.book.waiting(self._symbol):
            seen = mark if watch.by_mark else price
            self._see(watch, seen)
            if watch.reached(seen):
                self._trigger(watch, price)

    def _segment(self, start: Decimal, end: Decimal) -> None:
        """A straight piece of the path: the nearest event first, until it holds none."""
        here = start
        while True:
            found = self._next(here, end)
            if found is None:
                break
            here, event = found
            if isinstance(event, Watch):
                self._trigger(event, here)
            else:
                self._fill(event)
        for watch in self._dealing.book.waiting(self._symbol):
            if not watch.by_mark:
                self._see(watch, end)

    def _next(self, here: Decimal, end: Decimal) -> tuple[Decimal, ContractOrder | Watch] | None:
        """The event nearest to `here` on the way to `end`; equal distances: conditional orders first, then by rank."""
        events: list[tuple[Decimal, int, int, ContractOrder | Watch]] = []
        for watch in self._dealing.book.waiting(self._symbol):
            level = watch.level
            if not watch.by_mark and level is not None and watch.reached(end):
                at = here if watch.reached(here) else level
                events.append((abs(at - here), 0, watch.id, watch))
        for order in self._dealing.book.open_orders(self._symbol):
            if order.side.sign * (order.price - end) > 0 and self._dealing.wanted(order) and self._available():
                distance = max(order.side.sign * (here - order.price), Decimal(0))
                events.append((distance, 1, order.rank, order))
        if not events:
            return None
        distance, _, _, event = min(events, key=lambda each: each[:3])
        return here + (distance if end > here else -distance), event

    def _available(self) -> bool:
        quote = self._dealing.quote(self._symbol, self._open_ms)
        return quote is not None and quote.available > 0

    def _fill(self, order: ContractOrder) -> None:
        quote = self._dealing.quote(self._symbol, self._open_ms)
        if quote is not None:
            quantity = min(self._dealing.wanted(order), quote.available)
            self._dealing.execute(self._change, order, quantity, order.price, self._at_ms, maker=True)

    def _see(self, watch: Watch, price: Decimal) -> None:
        if watch.follow(price):
            watch.updated_ms = self._at_ms
            self._change.watches[watch.id] = watch

    def _trigger(self, watch: Watch, price: Decimal) -> None:
        quote = self._dealing.quote(self._symbol, self._open_ms, price)
        if quote is not None:
            self._dealing.trigger(self._change, watch, quote, self._at_ms)
