"""A rule that tells its changes only, compiled: long while one mean of the closes stands above a slower one. The 1,000 points of W2."""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from desk.backtest.panel import Panel
from desk.backtest.strides import Changes

# 25 fast windows by 40 slow ones.
GRID = {"fast": list(range(4, 104, 4)), "slow": list(range(110, 510, 10))}


# Bars looked at in one go: their marks stay in the fastest cache.
BLOCK = 2048


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _changes(sums: NDArray[np.float64], fast: float, slow: float, rows: NDArray[np.int64]) -> int:
    """How many changes there are; at which bars is written. `sums` [time + 1] of the closes; nothing is wanted before `slow` bars closed."""
    bars, first = len(sums) - 1, int(slow)
    ends, quick, late = sums[first:], sums[first - int(fast) : bars + 1 - int(fast)], sums[: bars + 1 - first]
    # `above` begins at 8, and 7 holds the bar before.
    above, turned = np.zeros(BLOCK + 8, np.uint8), np.zeros(BLOCK, np.uint8)
    words, found, count = turned.view(np.uint64), np.zeros(BLOCK // 8 + 1, np.int64), 0
    for start in range(0, len(ends), BLOCK):
        many = min(BLOCK, len(ends) - start)
        end, near, far = ends[start : start + many], quick[start : start + many], late[start : start + many]
        here, there = above[8 : 8 + many], above[7 : 7 + many]
        for row in range(many):
            here[row] = (end[row] - near[row]) * slow > (end[row] - far[row]) * fast
        for row in range(many):
            turned[row] = here[row] != there[row]
        turned[many:] = 0
        # Every word and every bar of the eight is written, and written over unless it changed: nothing to guess for the processor.
        hits = 0
        for word in range((many + 7) // 8):
            found[hits] = 8 * word
            hits += words[word] != 0
        for hit in range(hits):
            for row in range(found[hit], found[hit] + 8):
                rows[count] = start + row + first - 1
                count += turned[row]
        above[7] = here[many - 1]
    return count


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _several(sums: NDArray[np.float64], fasts: NDArray[np.float64], slows: NDArray[np.float64], rows: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """The changes of several points, one after the other; where those of each end."""
    end = 0
    for point in range(len(fasts)):
        end += _changes(sums, fasts[point], slows[point], rows[end:])
        ends[point] = end


class Crossing:
    """`crossing(bars, fast=[5], slow=[60])`, several points at once; keeps what all share."""

    # Points in one call.
    AT_ONCE = 25

    def __init__(self, bars: Panel) -> None:
        self._sums = np.concatenate([[0.0], np.cumsum(bars.close[:, 0])])
        # In and out by turns, as every crossing is.
        self._turns = np.arange(1.0, len(self._sums) + 1) % 2
        self._own = threading.local()

    def _room(self, points: int) -> NDArray[np.int64]:
        """This thread's, for as many changes as there are bars: memory that comes and goes with every call makes threads wait for each other."""
        if not hasattr(self._own, "room"):
            self._own.room = np.empty(points * len(self._sums) + 8, np.int64)
        room: NDArray[np.int64] = self._own.room
        return room

    def __call__(self, bars: Panel, *, fast: list[int], slow: list[int]) -> list[Changes]:
        """Exposure 1 from the close at which the mean of the last `fast` closes rises above that of the last `slow`, 0 from where it falls below."""
        room, ends = self._room(self.AT_ONCE), np.empty(len(fast), np.int64)
        _several(self._sums, np.array(fast, np.float64), np.array(slow, np.float64), room, ends)
        rows = np.split(room[: ends[-1]].copy(), ends[:-1])
        return [Changes(each, self._turns[: len(each)]) for each in rows]

    def targets(self, bars: Panel, *, fast: int, slow: int) -> Any:
        """The same of one point in numpy, an exposure at every bar."""
        sums = self._sums
        above = (sums[slow:] - sums[slow - fast : len(sums) - fast]) * slow > (sums[slow:] - sums[: len(sums) - slow]) * fast
        return np.concatenate([np.zeros(slow - 1), above])[:, None]
