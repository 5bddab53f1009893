"""The way through a bar that this exchange assumes: open, the extreme nearer to it in time's usual order, the other one, close.

A bar that closed at or above its open went to its low first, one that fell went to its high first: the same four prints that the public trades
tell. Nothing is known about a bar's inside; this order is fixed so that the same tape always gives the same fills.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TypeVar

from desk.practice_exchange.listing import Listing

Price = TypeVar("Price", float, Decimal)

# Background flow, as shares of what the bar gives: what stands before a new order at its price, and what comes to a price that is only touched.
QUEUE_SHARE, TOUCH_SHARE = 0.25, 0.5


def path_of(opened: Price, high: Price, low: Price, close: Price) -> tuple[Price, Price, Price, Price]:
    """The four prices of a bar in the order in which they are assumed to have been traded."""
    return (opened, low, high, close) if close >= opened else (opened, high, low, close)


def queue_before(listing: Listing, price: Decimal, at_ms: int, gives: Decimal) -> Decimal:
    """Base units of others' orders that rest at a price before ours joins them: a seeded part of what a bar gives."""
    return _part(listing, f"queue|{price}|{at_ms}", QUEUE_SHARE, gives)


def touching_flow(listing: Listing, price: Decimal, at_ms: int, gives: Decimal) -> Decimal:
    """Base units that others bring to a price which a bar touches but does not trade through: a seeded part of what the bar gives."""
    return _part(listing, f"touch|{price}|{at_ms}", TOUCH_SHARE, gives)


def _part(listing: Listing, key: str, largest: float, gives: Decimal) -> Decimal:
    """Keyed, not drawn: the same in every process, and nothing to remember over a restart."""
    share = int.from_bytes(hashlib.sha256(f"{listing.symbol}|{key}".encode()).digest()[:6], "big") / 2**48 * largest
    return listing.lots(gives * Decimal(str(share))) * listing.lot
