"""Funding of perpetual contracts: every eight hours longs pay shorts a rate of their notional at the mark price, or the other way about.

The rate is one given number, or drawn by a keyed hash of (market, symbol, instant): the same market always pays the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

INTERVAL_MS = 8 * 3_600_000
USUAL_RATE = Decimal("0.0001")
RATE_STEP = Decimal("1e-8")
AMOUNT_STEP = Decimal("1e-8")
LARGEST_RATE = Decimal("0.003")
# Drawn rates lie within this distance of the usual one.
SPREAD = Decimal("0.0003")
HASH_RANGE = 1 << 64


@dataclass(frozen=True, slots=True)
class Funding:
    """The rates of one market; `constant` None draws them."""

    market: str
    constant: Decimal | None = None

    def rate(self, symbol: str, at_ms: int) -> Decimal:
        """The rate settled at this instant, a fraction of notional; > 0: longs pay."""
        if self.constant is not None:
            return self.constant
        digest = hashlib.sha256(f"funding|{self.market}|{symbol}|{at_ms}".encode()).digest()
        share = Decimal(int.from_bytes(digest[:8], "big")) / HASH_RANGE
        return (USUAL_RATE + SPREAD * (2 * share - 1)).quantize(RATE_STEP, ROUND_HALF_EVEN)

    def instants(self, after_ms: int, until_ms: int) -> range:
        """The settlements in (after, until]."""
        return range(next_settlement(after_ms), until_ms + 1, INTERVAL_MS)


def next_settlement(now_ms: int) -> int:
    """The first settlement after this instant."""
    return now_ms - now_ms % INTERVAL_MS + INTERVAL_MS


def payment(quantity: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
    """What a position of signed `quantity` pays; negative: what it is paid."""
    return (quantity * mark * rate).quantize(AMOUNT_STEP, ROUND_HALF_EVEN)
