"""Instruments and the one crossing between research floats and the venue's grid.

Amounts round down, prices round by side (a buyer's price up, a seller's down: never in our favour). The integer functions are plain
arithmetic so that the numba kernel compiles these very functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

# A float quotient can fall one ulp short of the integer it means; this much of a grid step is forgiven. Ours.
GRID_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable symbol and its grid: `tick` in quote per base, `lot` in base, `min_notional` in quote."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_notional: Decimal

    @property
    def perpetual(self) -> bool:
        """Whether this is a contract on margin without an end, such as BTC/USDT:USDT."""
        return ":" in self.symbol


def lots_of(quantity: float, lot: float) -> int:
    """Whole lots in a quantity >= 0 (base units), rounded down."""
    return math.floor(quantity / lot + GRID_TOLERANCE)


def ticks_of(price: float, tick: float, sign: int) -> int:
    """Whole ticks of a price > 0: up for a buyer (sign +1), down for a seller (sign -1); never below one tick."""
    steps = price / tick
    ticks = math.ceil(steps - GRID_TOLERANCE) if sign > 0 else math.floor(steps + GRID_TOLERANCE)
    return max(ticks, 1)


def quantity_of(lots: int, instrument: Instrument) -> Decimal:
    """Base quantity of a whole number of lots, exact."""
    return lots * instrument.lot


def price_of(ticks: int, instrument: Instrument) -> Decimal:
    """Price of a whole number of ticks, exact."""
    return ticks * instrument.tick
