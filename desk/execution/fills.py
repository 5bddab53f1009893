"""How much of an order fills, and at what price. Plain arithmetic: simulated venue and kernel share these very functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from desk.costs import trade_cost_fraction
from desk.instruments import lots_of, ticks_of


def fill_lots(order_lots: int, volume: float, lot: float, participation_cap: float, taken: int = 0) -> int:
    """Lots of an order (unsigned) that a bar fills: at most the share `participation_cap` of its `volume` (base units), of which `taken` lots are gone.

    No volume, or NaN: 0.
    """
    if not volume > 0:
        return 0
    return min(order_lots, max(lots_of(participation_cap * volume, lot) - taken, 0))


def impact_share(lots: int, volume: float, lot: float, taken: int = 0) -> float:
    """Share of a bar's `volume` (base units, > 0) whose impact a fill of `lots` pays where `taken` lots of that bar were filled before it.

    All fills of a bar together then pay the impact of their sum, however it is split: each pays what it adds, (b^1.5 - a^1.5) / (b - a) for a
    bar taken from share a to share b, which is the root of this share.
    """
    if taken == 0:
        return lots * lot / volume
    before, after = math.sqrt(taken * lot / volume), math.sqrt((taken + lots) * lot / volume)
    root = (after * after + after * before + before * before) / (after + before)
    return root * root


def fill_ticks(open_price: float, tick: float, sign: int, half_spread_bps: float, impact_bps: float, participation: float) -> int:
    """Price in ticks of a fill at a bar's open (> 0, quote): worse by spread and impact, then rounded against us; `sign` +1 buys, -1 sells."""
    # The root takes longer than all the rest: none where it would be multiplied by 0.
    share = participation if impact_bps != 0 else 0.0
    raw = open_price * (1 + sign * trade_cost_fraction(half_spread_bps, impact_bps, share))
    return ticks_of(raw, tick, sign)


def ration_into(granted: NDArray[np.int64], wanted_lots: NDArray[np.int64], unit_costs: NDArray[np.float64], cash: float) -> None:
    """Write into `granted` the lots of each buy, in symbol order, when together they may cost at most `cash` (quote).

    `unit_costs`: quote per lot, fee included. Enough cash grants all. Otherwise each is cut in the same proportion to whole lots, and one
    pass in order tops each up by what the rest of the cash allows. No cash, or NaN: nothing.
    """
    total = 0.0
    for i in range(len(wanted_lots)):
        granted[i] = wanted_lots[i]
        total += wanted_lots[i] * unit_costs[i]
    if total <= cash:
        return
    budget = cash if cash > 0 else 0.0
    left = budget
    for i in range(len(wanted_lots)):
        granted[i] = math.floor(wanted_lots[i] * (budget / total))
        left -= granted[i] * unit_costs[i]
    for i in range(len(wanted_lots)):
        missing = wanted_lots[i] - granted[i]
        if missing > 0 and left >= unit_costs[i]:
            extra = min(missing, math.floor(left / unit_costs[i]))
            granted[i] += extra
            left -= extra * unit_costs[i]


def ration(wanted_lots: NDArray[np.int64], unit_costs: NDArray[np.float64], cash: float) -> NDArray[np.int64]:
    """What `ration_into` grants, as a new array."""
    granted = np.empty_like(wanted_lots)
    ration_into(granted, wanted_lots, unit_costs, cash)
    return granted
