"""A coin that is meant to be worth one dollar, and the day on which it is not.

Its price returns to one within hours of every disturbance. In the depeg scenario it falls to TROUGH within FALL_HOURS and comes back within
RETURN_HOURS, once, at a seeded time within the stream (USDC, March 2023: 0.88 on a Saturday, one again on Monday). With `stress` s,

    log close[t] = s[t] * log TROUGH + (1 - s[t]) * d[t],    d[t] = MEMORY * d[t-1] + NOISE * e[t]

where s is 0 but for that time, rises on a line to 1 and falls on a line to 0: at the trough the close is TROUGH exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from desk.practice_exchange.tape import Floats

DEPEG = "depeg"
COIN, DOLLAR = "USDC", "USDT"
PAIR = f"{COIN}/{DOLLAR}"
TROUGH = 0.88
FALL_HOURS, RETURN_HOURS = 8, 48
MEMORY, NOISE = 0.9, 0.0001
STORM = 20.0  # how much wider wicks are, and
RUSH = 5.0  # how much more is traded, at the trough


@dataclass(frozen=True, slots=True)
class Stress:
    """When a coin loses its peg, in bars: from `begin` on it falls for `fall` bars, then returns for `back` bars."""

    begin: int
    fall: int
    back: int

    @property
    def trough(self) -> int:
        """The bar that closes at TROUGH."""
        return self.begin + self.fall - 1

    def path(self, bars: int) -> Floats:
        """How far from the peg, 0 to 1 [bar]."""
        corners = (self.begin - 1, self.trough, self.trough + self.back)
        return np.interp(np.arange(bars), corners, (0.0, 1.0, 0.0))


def stress_of(draw: float, history_bars: int, stream_bars: int, bar_hours: float) -> Stress:
    """The seeded time: whole within the stream when that is long enough, else from its first bar on. `draw` in [0, 1)."""
    fall, back = (max(1, round(hours / bar_hours)) for hours in (FALL_HOURS, RETURN_HOURS))
    return Stress(history_bars + int(draw * max(stream_bars - fall - back, 0)), fall, back)


def pegged(surprises: Floats, stress: Floats) -> Floats:
    """Log closes of the coin in dollars [bar]; `surprises` are standard normal."""
    strays = np.empty(len(surprises))
    stray = 0.0
    for number, surprise in enumerate(surprises.tolist()):
        stray = MEMORY * stray + NOISE * surprise
        strays[number] = stray
    path: Floats = stress * math.log(TROUGH) + (1 - stress) * strays
    return path
