"""The expected-shortfall guard inside the kernel: the covariance is brought up to the row at which orders are judged, from closes alone.

The arithmetic is the risk desk's own, `desk.risk.shortfall`. Rows on which nothing is ordered are caught up with later, so that a stretch that is skipped
stays skipped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from desk.risk.shortfall import Moves, Prospect, begin, count, shortfall_factor

# Code of its refusals; the guards of desk.risk.guards come before, and those of the loop with terms.
SHORTFALL = 10


class Outlook(NamedTuple):
    """What the guard knows, closes [time, asset] from before the first row, and how many rows were seen, those among them."""

    prospect: Prospect
    before: NDArray[np.float64]
    seen: NDArray[np.int64]


def outlook_of(limits: RiskSettings, before: NDArray[np.float64]) -> Outlook:
    """Nothing seen yet."""
    size, centre = before.shape[1], limits.covariance_bars
    moves = Moves(np.zeros(size * (size + 1) // 2), np.zeros(2), np.full(size, np.nan), np.full(size, np.nan), centre / (centre + 1), centre)
    prospect = Prospect(moves, np.zeros(size), np.zeros(size), limits.max_expected_shortfall, shortfall_factor(limits.shortfall_level))
    return Outlook(prospect, before, np.zeros(1, np.int64))


def look(outlook: Outlook, close: NDArray[np.float64], row: int, book: NDArray[np.void]) -> None:
    """Know what is known at the close of `row`, and start from the book, when anything is ordered there. A row without a bar is no event."""
    ordered, earlier, moves = False, len(outlook.before), outlook.prospect.moves
    for asset in range(len(book)):
        ordered = ordered or book[asset]["order"] != 0
    if not ordered:
        return
    for number in range(outlook.seen[0], earlier + row + 1):
        event = False
        for asset in range(len(book)):
            moves.fresh[asset] = outlook.before[number, asset] if number < earlier else close[number - earlier, asset]
            event = event or not math.isnan(moves.fresh[asset])
        if event:
            count(moves)
    outlook.seen[0] = earlier + row + 1
    for asset in range(len(book)):
        outlook.prospect.values[asset] = book[asset]["lots"] * book[asset]["lot"] * book[asset]["last_close"]
    begin(outlook.prospect)
