"""The expected-shortfall guard that session and kernel share: how returns move together, and what that makes of a book.

Plain arithmetic: both call these very functions, the session on lists, the kernel on arrays. Products of returns are weighted by a power of `decay` for
each bar of age (RiskMetrics Technical Document, 1996, ch. 5, with a zero mean); gains are normal with mean 0. Each order is asked for in one pass over the
assets: what the covariance makes of the book is kept, and moves with every order that is let through.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.risk.guards import Stake

Numbers = list[float] | NDArray[np.float64]


class Moves(NamedTuple):
    """Weighted products of one-bar simple returns (fractions): `sums` the lower triangle of their matrix, row by row; `tally` the sum of the weights, and
    how many returns were seen of the `wanted`. `closes` the last of each symbol, `fresh` those of the event to be counted; NaN: none.
    """

    sums: Numbers
    tally: Numbers
    closes: Numbers
    fresh: Numbers
    decay: float
    wanted: int


class Prospect(NamedTuple):
    """A book as its orders will leave it: `values` of positions (signed, quote), `pull` the product of `moves.sums` with them. `most` is the limit (fraction
    of equity, 0: none), `factor` the expected shortfall of a standard normal.
    """

    moves: Moves
    values: Numbers
    pull: Numbers
    most: float
    factor: float


def cell(one: int, other: int) -> int:
    """Where the triangle keeps a pair of symbols."""
    row, column = max(one, other), min(one, other)
    return row * (row + 1) // 2 + column


def count(moves: Moves) -> None:
    """Count the closes in `fresh`. A symbol without a new one returns 0; nothing counts before every symbol has one."""
    closes, fresh, sums, complete, place = moves.closes, moves.fresh, moves.sums, True, 0
    for symbol in range(len(closes)):
        complete = complete and not math.isnan(closes[symbol])
        if math.isnan(fresh[symbol]):
            fresh[symbol] = 0.0
        else:
            before, closes[symbol] = closes[symbol], fresh[symbol]
            fresh[symbol] = fresh[symbol] / before - 1
    if not complete:
        return
    for one in range(len(closes)):
        change = fresh[one]
        for other in range(one + 1):
            sums[place] = moves.decay * sums[place] + change * fresh[other]
            place += 1
    moves.tally[0] = moves.decay * moves.tally[0] + 1
    moves.tally[1] += 1


def begin(prospect: Prospect) -> None:
    """Start from the book in `values`."""
    sums, values, pull, place = prospect.moves.sums, prospect.values, prospect.pull, 0
    for one in range(len(values)):
        pull[one] = 0.0
        for other in range(one):
            pull[one] += sums[place] * values[other]
            pull[other] += sums[place] * values[one]
            place += 1
        pull[one] += sums[place] * values[one]
        place += 1


def shortfall_after(prospect: Prospect, symbol: int, change: float) -> float:
    """Expected shortfall (quote) over one bar once the position in `symbol` is worth `change` more; nan before enough is known."""
    moves, values, pull, total, place = prospect.moves, prospect.values, prospect.pull, 0.0, cell(symbol, 0)
    if moves.tally[1] < moves.wanted:
        return math.nan
    for other in range(len(values)):
        value = values[other] + change if other == symbol else values[other]
        total += value * (pull[other] + change * moves.sums[place])
        # Along the symbol's row of the triangle, then down its column.
        place += 1 if other < symbol else other + 1
    return math.sqrt(max(total / moves.tally[0], 0.0)) * prospect.factor


def admit(prospect: Prospect, symbol: int, order: Stake, equity: float) -> bool:
    """Take an order into the book, unless it brings its position no closer to flat and the book could lose too much. What is not known is too much."""
    change, place = order.delta_lots * order.lot * order.close, cell(symbol, 0)
    grows = abs(order.position_lots + order.delta_lots) >= abs(order.position_lots)
    if grows and not shortfall_after(prospect, symbol, change) <= prospect.most * equity:
        return False
    for other in range(len(prospect.values)):
        prospect.pull[other] += change * prospect.moves.sums[place]
        place += 1 if other < symbol else other + 1
    prospect.values[symbol] += change
    return True


def shortfall_factor(level: float) -> float:
    """Mean loss beyond the quantile `level` of a standard normal gain: pdf(z) / (1 - level).

    McNeil, Frey, Embrechts, Quantitative Risk Management (2015), example 2.14. Crypto returns have fatter tails: set limits accordingly.
    """
    normal = NormalDist()
    return normal.pdf(normal.inv_cdf(level)) / (1 - level)
