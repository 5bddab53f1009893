"""The risk desk: remembers what the guards need to know, and judges the orders of one step one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from configs.risk import RiskSettings
from desk.books.journal import RiskMarks
from desk.events import Approved, Order, Refused
from desk.instruments import Instrument
from desk.risk.guards import GUARDS, check, daily_floor, drawdown_floor


def marked(before: RiskMarks | None, equity: float, at: datetime, limits: RiskSettings) -> RiskMarks:
    """The marks after `equity` (quote currency) was seen at `at`. The drawdown latch never opens again, the daily one at the next UTC day."""
    day = at.date().isoformat()
    same_day = before is not None and before.day == day
    peak = equity if before is None else max(before.peak, equity)
    day_first = before.day_first if before is not None and same_day else equity
    reducing = before is not None and before.reducing
    day_reducing = before is not None and same_day and before.day_reducing
    return RiskMarks(
        peak=peak,
        day=day,
        day_first=day_first,
        reducing=reducing or equity <= drawdown_floor(peak, limits.max_drawdown),
        day_reducing=day_reducing or equity <= daily_floor(day_first, limits.max_daily_loss),
    )


class RiskDesk:
    """Judges orders against the limits. Holds nothing between steps: positions, closes and marks are handed in."""

    def __init__(self, instruments: Mapping[str, Instrument], limits: RiskSettings) -> None:
        self._lot = {symbol: float(instrument.lot) for symbol, instrument in sorted(instruments.items())}
        self._limits = limits

    def judge(
        self, orders: Sequence[tuple[Order, int]], lots: Mapping[str, int], closes: Mapping[str, float], equity: float, marks: RiskMarks
    ) -> tuple[tuple[Approved, ...], tuple[Refused, ...]]:
        """Judge (order, signed lots) in the order given, each on the book as the approved ones before it would leave it."""
        limits = self._limits
        positions = dict(lots)
        gross = sum(abs(held) * self._lot[symbol] * closes[symbol] for symbol, held in positions.items() if held)
        approved, refused = [], []
        for order, delta in orders:
            close, lot, held = closes[order.symbol], self._lot[order.symbol], positions[order.symbol]
            code = check(delta, held, close, lot, equity, gross, marks.reducing, marks.day_reducing, limits.max_position_weight, limits.max_gross_weight)
            if code:
                after = abs(held + delta) * lot * close
                reason = f"equity {equity:.2f}, peak {marks.peak:.2f}, day's first {marks.day_first:.2f}, position would be {after:.2f} of gross {gross:.2f}"
                refused.append(Refused(order, GUARDS[code], reason))
                continue
            positions[order.symbol] = held + delta
            gross += (abs(held + delta) - abs(held)) * lot * close
            approved.append(Approved(order))
        return tuple(approved), tuple(refused)
