"""The pre-trade guards, in order. Plain arithmetic: session and kernel share these very functions.

A guard says no to a whole order; an order that brings a position closer to flat always passes.
"""

from __future__ import annotations

# Name by code; 0 is approval, and the guards are asked in this order.
GUARDS = ("", "drawdown", "daily_loss", "position", "gross")
_APPROVED, _DRAWDOWN, _DAILY_LOSS, _POSITION, _GROSS = range(5)

# A position sized exactly to its limit must not fail on the last bit of a float product.
_LIMIT_SLACK = 1 + 1e-9


def check(
    delta_lots: int,
    position_lots: int,
    close: float,
    lot: float,
    equity: float,
    gross_notional: float,
    reducing: bool,
    day_reducing: bool,
    max_position_weight: float,
    max_gross_weight: float,
) -> int:
    """Code of the first guard that refuses an order of `delta_lots` (signed) on a position of `position_lots` (signed), or 0.

    `close`, `equity` and `gross_notional` in quote, `lot` in base; `gross_notional` is the sum of absolute positions at their closes before
    this order. `reducing` and `day_reducing` are the latches of the first two guards; the weights are fractions of equity. With equity <= 0
    no position can grow.
    """
    held, after = abs(position_lots), abs(position_lots + delta_lots)
    if after < held:
        return _APPROVED
    if reducing:
        return _DRAWDOWN
    if day_reducing:
        return _DAILY_LOSS
    if after * lot * close > max_position_weight * equity * _LIMIT_SLACK:
        return _POSITION
    if gross_notional + (after - held) * lot * close > max_gross_weight * equity * _LIMIT_SLACK:
        return _GROSS
    return _APPROVED


def drawdown_floor(peak: float, max_drawdown: float) -> float:
    """Equity at or below which the account has fallen by the fraction `max_drawdown` or more from `peak` (both in quote)."""
    return peak * (1 - max_drawdown)


def daily_floor(day_first: float, max_daily_loss: float) -> float:
    """Equity at or below which the account has lost the fraction `max_daily_loss` or more since the UTC day's first mark (both in quote)."""
    return day_first * (1 - max_daily_loss)
