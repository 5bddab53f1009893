"""Where a position is given up and where its gain is taken, in whole ticks. Plain arithmetic: protection and kernel share these very functions."""

from __future__ import annotations

from typing import NamedTuple

from configs.trading import TradingSettings
from desk.errors import ContractBroken
from desk.instruments import ticks_of


class Levels(NamedTuple):
    """Fractions, 0 is none: fall from the entry price, fall from the best close since the entry, gain on the entry price."""

    stop: float
    trail: float
    gain: float


def levels_of(trading: TradingSettings) -> Levels:
    """The levels of the settings. A gain is taken beside a stop, never instead of one."""
    if trading.take_profit and not (trading.protective_stop or trading.trailing_stop):
        raise ContractBroken(f"expected trading.protective_stop or trailing_stop beside take_profit {trading.take_profit:g}, found neither: set one")
    return Levels(trading.protective_stop, trading.trailing_stop, trading.take_profit)


def stop_level(levels: Levels, sign: int, prices: tuple[float, float], tick: float, before: int) -> int:
    """Ticks at which a position of direction `sign` is given up, never further away than `before` (0: none) when it trails; 0: nowhere.

    `prices` are the entry's and the last close, in quote.
    """
    (entry, close), level = prices, 0
    if levels.stop > 0:
        level = ticks_of(entry * (1 - sign * levels.stop), tick, -sign)
    if levels.trail > 0 and close > 0:
        level = nearer(sign, nearer(sign, level, before), ticks_of(close * (1 - sign * levels.trail), tick, -sign))
    return level


def gain_level(levels: Levels, sign: int, entry: float, tick: float) -> int:
    """Ticks at which the gain of a position of direction `sign` is taken, rounded away from the entry; 0: nowhere."""
    return ticks_of(entry * (1 + sign * levels.gain), tick, sign) if levels.gain > 0 else 0


def nearer(sign: int, level: int, other: int) -> int:
    """The stop that is reached first by a position of direction `sign`; 0 is none."""
    if level == 0 or other == 0:
        return level + other
    return max(level, other) if sign > 0 else min(level, other)
