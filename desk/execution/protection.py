"""Protective stops: one resting order per open position, that closes it when the market falls too far from its entry.

A stop is decided with the orders that make the position, for the position as they will leave it, and decided again at every close from the
position as it is. The same in every mode: simulated it is executed inside the bars, live it rests on the exchange.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from configs.trading import TradingSettings
from desk.books.journal import Step
from desk.books.portfolio import Portfolio
from desk.events import Approved, Fill, Order, Refused
from desk.execution.levels import Levels, gain_level, levels_of, stop_level
from desk.execution.order import stop_of
from desk.instruments import Instrument

GUARD = "protection"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What protection asks of one step: stops to place (order, signed lots), stops to cancel, and positions no stop can protect."""

    placed: tuple[tuple[Order, int], ...] = ()
    cancels: tuple[Order, ...] = ()
    unprotected: tuple[Refused, ...] = ()


@dataclass(slots=True)
class Protection:
    """The stops of one session. `levels` say how far from its entry, or from its best close, a position may fall and rise; none places none."""

    session_id: str
    instruments: Mapping[str, Instrument]
    levels: Levels
    resting: dict[str, Order] = field(default_factory=dict)
    _executed: dict[str, Decimal] = field(default_factory=dict)
    _unprotected: set[str] = field(default_factory=set)

    @classmethod
    def recovered(cls, session_id: str, instruments: Mapping[str, Instrument], trading: TradingSettings, last: Step | None) -> Protection:
        """Stands where the last step left it."""
        found = cls(session_id, instruments, levels_of(trading))
        for order in (*last.cancels, *last.stops) if last else ():
            found._executed[order.order_id] = Decimal(0)
        found.resting.update({order.symbol: order for order in last.stops} if last else {})
        return found

    def hear(self, fills: Sequence[Fill]) -> tuple[str, ...]:
        """Take note of executions; the symbols whose stop was executed."""
        stopped = [fill for fill in fills if fill.order_id in self._executed]
        for fill in stopped:
            self._executed[fill.order_id] += fill.quantity
        return tuple(sorted({fill.symbol for fill in stopped}))

    def wanted(self, closed_at: Any, portfolio: Portfolio, closes: Mapping[str, float], approved: Sequence[Approved]) -> Wanted:
        """What must change so that every position, as `approved` will leave it, has its stop."""
        if not any(self.levels) and not self.resting:
            return Wanted()
        placed, cancels, refused = [], [], []
        for symbol, instrument in sorted(self.instruments.items()):
            lots, entry = _planned(instrument, portfolio, closes.get(symbol), [each.order for each in approved if each.order.symbol == symbol])
            old, new = self.resting.get(symbol), self._stop(instrument, closed_at, lots, (entry, closes.get(symbol, 0.0)))
            # What was executed, if only in part, rests for another position than the one it was placed for, or not at all.
            alike = old is not None and new is not None and (old.side, old.quantity) == (new.side, new.quantity) and not self._executed.get(old.order_id)
            if old is not None and new is not None and alike and (old.stop_price, old.price) == (new.stop_price, new.price):
                continue
            small = new is not None and new.quantity * new.reference_price < instrument.min_notional
            # A stop whose successor would be too small stays while the position is the same: it protects better than none.
            if old is not None and not (small and alike):
                cancels.append(old)
            if new is None:
                self._unprotected.discard(symbol)
            elif not small:
                placed.append((new, -lots))
                self._unprotected.discard(symbol)
            elif symbol not in self._unprotected:
                self._unprotected.add(symbol)
                refused.append(Refused(new, GUARD, f"a stop of {new.quantity} at {new.stop_price} is below the least notional {instrument.min_notional}"))
        return Wanted(tuple(placed), tuple(cancels), tuple(refused))

    def settle(self, cancels: Sequence[Order], placed: Sequence[Order]) -> tuple[Order, ...]:
        """The stops that rest once the step is carried out, by symbol."""
        for order in cancels:
            self.resting.pop(order.symbol, None)
        for order in placed:
            self.resting[order.symbol] = order
        current = {order.order_id for order in (*self.resting.values(), *cancels)}
        self._executed = {order_id: self._executed.get(order_id, Decimal(0)) for order_id in sorted(current)}
        return tuple(order for _, order in sorted(self.resting.items()))

    def forget(self, order_ids: Collection[str]) -> None:
        """Stops that somebody else gave up rest no more."""
        self.resting = {symbol: order for symbol, order in self.resting.items() if order.order_id not in order_ids}

    def raced(self, ended: Sequence[tuple[Order, Decimal]]) -> frozenset[str]:
        """Symbols whose cancelled stop executed more than we had heard of: their other orders were sized for a position that is no more."""
        return frozenset(order.symbol for order, filled in ended if filled > self._executed.get(order.order_id, Decimal(0)))

    def _stop(self, instrument: Instrument, closed_at: Any, lots: int, prices: tuple[float, float]) -> Order | None:
        if not lots or not prices[0] > 0:
            return None
        sign, tick, old = (1 if lots > 0 else -1), float(instrument.tick), self.resting.get(instrument.symbol)
        before = int((old.stop_price or 0) / instrument.tick) if old is not None and old.side.sign == -sign else 0
        level = stop_level(self.levels, sign, prices, tick, before)
        if not level:
            return None
        return stop_of(self.session_id, instrument, closed_at, lots, (level, gain_level(self.levels, sign, prices[0], tick)))


def _planned(instrument: Instrument, portfolio: Portfolio, close: float | None, orders: Sequence[Order]) -> tuple[int, float]:
    """Signed lots, and their average entry price (quote), as a symbol's position will be if its orders fill at the last close.

    A position without an entry counts from the last close; nan when there is none.
    """
    lots, last = portfolio.lots[instrument.symbol], float("nan") if close is None else close
    entry = float(portfolio.entries.get(instrument.symbol, Decimal(repr(last)))) if lots else last
    for order in orders:
        delta = order.side.sign * int(order.quantity / instrument.lot)
        if lots * (lots + delta) <= 0:
            entry = last
        elif lots * delta > 0:
            entry = (entry * lots + last * delta) / (lots + delta)
        lots += delta
    return lots, entry
