"""What the market gives at one instant: the open of the forming bar, at a spread, with square-root impact, up to a share of the bar's volume.

Our fills never change the printed bars: impact is charged to the fill.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from configs.trading import CostSettings
from desk.practice_exchange.listing import Listing

LEVELS = 100
BASIS_POINT = 1e-4


@dataclass(frozen=True, slots=True)
class Quote:
    """One bar as a counterparty: its open (quote), its volume (base), and what of it we took already (base)."""

    listing: Listing
    costs: CostSettings
    open: float
    volume: float
    taken: Decimal

    @property
    def available(self) -> Decimal:
        """How much can still be had of this bar, whole lots."""
        return max(self.listing.lots(self.costs.participation_cap * self.volume) - self.listing.lots(self.taken), 0) * self.listing.lot

    def price(self, quantity: Decimal, sign: int) -> Decimal:
        """What a taker pays (sign +1) or gets (-1) for one base unit of `quantity`; impact grows with all that was taken of the bar."""
        impact = self.costs.impact_bps * self._impact(quantity)
        return self.listing.price(self.open * (1 + sign * (self.costs.half_spread_bps + impact) * BASIS_POINT), sign)

    def touch(self, sign: int) -> Decimal:
        """The best price for the smallest quantity: the ask for a buyer (+1), the bid for a seller (-1)."""
        return self.price(self.listing.lot, sign)

    def within_limit(self, wanted: Decimal, sign: int, limit: Decimal) -> Decimal:
        """The largest available part of `wanted` at a price no worse than the limit."""
        return self._largest(wanted, lambda quantity: sign * (self.price(quantity, sign) - limit) <= 0)

    def within_budget(self, budget: Decimal, sign: int) -> Decimal:
        """The largest available quantity that is worth no more than the budget (quote)."""
        return self._largest(self.available, lambda quantity: quantity * self.price(quantity, sign) <= budget)

    def _impact(self, quantity: Decimal) -> float:
        """What `quantity` pays of the impact of a whole bar: what it adds to what was taken before it, so that no way of splitting an order changes its cost.

        One order pays the root of its share of the volume. From share a to share b that leaves (b^1.5 - a^1.5) / (b - a), which in the roots of both
        needs no difference of two large numbers. No volume: nothing.
        """
        if not self.volume > 0:
            return 0.0
        after = math.sqrt(float(self.taken + quantity) / self.volume)
        if not self.taken:
            return after
        before = math.sqrt(float(self.taken) / self.volume)
        return (after * after + after * before + before * before) / (after + before)

    def _largest(self, wanted: Decimal, acceptable: Callable[[Decimal], bool]) -> Decimal:
        """Bisection in lots: prices only get worse with size."""
        good, bad = 0, self.listing.lots(min(wanted, self.available)) + 1
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if acceptable(middle * self.listing.lot) else (good, middle)
        return good * self.listing.lot

    def levels(self, sign: int, nearest: int = LEVELS) -> list[tuple[Decimal, Decimal]]:
        """The book that this liquidity amounts to: (price, quantity) from the touch outwards, for takers of that side; at most the nearest levels."""
        total = self.listing.lots(self.available)
        # Price grows with the root of size: sizes that grow with the square give levels at even distances.
        steps = sorted({total * (rank + 1) ** 2 // LEVELS**2 for rank in range(LEVELS)} - {0})[:nearest]
        book: dict[Decimal, Decimal] = {}
        before = 0
        for lots in steps:
            price = self.price(lots * self.listing.lot, sign)
            book[price] = book.get(price, Decimal(0)) + (lots - before) * self.listing.lot
            before = lots
        return sorted(book.items(), reverse=sign < 0)
