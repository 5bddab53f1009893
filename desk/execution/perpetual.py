"""Contracts on margin: how much may be opened, what funding moves, when a position is closed by force. Plain arithmetic that venue and kernel share.

A contract is booked like a coin that may be sold short: its cost leaves the cash, which may fall below 0, and equity is cash plus positions at
their last prices. What margin limits is the sum of absolute positions. The mark price is the close.
"""

from __future__ import annotations

import math
from datetime import datetime

from desk.costs import funding

# Funding is paid in whole units of this (quote), as venues print balances.
FUNDING_STEP = "0.00000001"
FUNDING_HOURS = 8
# How the ids of a venue's own doings begin.
FUNDING, FORCED = "funding-", "forced-"
_UNITS = 1e8


def settlements(closed_at: datetime, bar_seconds: float) -> int:
    """How many of the venue's funding instants (every eight hours UTC) lie in the bar that closed at `closed_at`, its end included."""
    end, period = closed_at.timestamp(), FUNDING_HOURS * 3600
    return math.floor(end / period) - math.floor((end - bar_seconds) / period)


def funding_units(position: float, price: float, rate: float) -> int:
    """What a position (base, signed) pays at a `rate` (fraction of its value; below 0 it receives), in units of 1e-8 quote, to the nearest. NaN: 0."""
    paid = funding(position * price, rate) * _UNITS
    return 0 if math.isnan(paid) else math.floor(paid + 0.5)


def margined_lots(lots: int, held: int, sign: int, room: float, unit: float) -> int:
    """Of an order of `lots` (unsigned, direction `sign`) on `held` signed lots, what margin allows: all that closes, and what `room` carries of the rest.

    `room`: quote by which the sum of absolute positions may grow; `unit`: value of a lot (> 0).
    """
    closing = min(lots, max(-sign * held, 0))
    free = room + closing * unit
    return closing + (min(lots - closing, math.floor(free / unit)) if free > 0 else 0)


def doomed(equity: float, gross: float, maintenance: float) -> bool:
    """Whether an account with contracts worth `gross` (sum of absolute values, quote) no longer keeps the maintenance margin."""
    return gross > 0 and equity <= maintenance * gross
