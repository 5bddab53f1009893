"""A symbol on offer and its grid of prices and quantities, derived from the magnitude of its price alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

MIN_NOTIONAL = Decimal(5)
TICK_DIGITS = 5  # a tick is between 1e-5 and 1e-6 of the price, within the bounds below
COARSEST_TICK, FINEST_TICK = -2, -8  # powers of ten
FINEST_LOT, COARSEST_LOT = -5, 0
# A float quotient can fall one ulp short of the integer it means; this much of a grid step is forgiven.
GRID_TOLERANCE = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Listing:
    """`tick` in quote per base, `lot` in base, `min_notional` in quote."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_notional: Decimal = MIN_NOTIONAL

    @property
    def id(self) -> str:
        """The symbol as Binance writes it, without the slash."""
        return self.base + self.quote

    def lots(self, quantity: Decimal | float) -> int:
        """Whole lots in a quantity >= 0, rounded down."""
        return int((Decimal(quantity) / self.lot + GRID_TOLERANCE).to_integral_value(ROUND_FLOOR))

    def price(self, raw: float, sign: int) -> Decimal:
        """A price > 0 on the grid, against the taker: up for a buyer (sign +1), down for a seller (-1); never below one tick."""
        steps = Decimal(raw) / self.tick
        rounded = (steps - GRID_TOLERANCE).to_integral_value(ROUND_CEILING) if sign > 0 else (steps + GRID_TOLERANCE).to_integral_value(ROUND_FLOOR)
        return max(rounded, Decimal(1)) * self.tick


def list_symbol(symbol: str, price: float) -> Listing:
    """The grid for "BASE/QUOTE" trading near `price` > 0: 0.01 / 0.00001 at 40000, ten times finer and coarser for each power of ten."""
    base, quote = symbol.split("/")
    magnitude = math.floor(math.log10(price))
    tick = min(max(magnitude - TICK_DIGITS, FINEST_TICK), COARSEST_TICK)
    lot = min(max(-magnitude - 1, FINEST_LOT), COARSEST_LOT)
    return Listing(symbol, base, quote, Decimal(1).scaleb(tick), Decimal(1).scaleb(lot))
