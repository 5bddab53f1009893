"""The pre-trade guards that session and kernel share, in order. Plain arithmetic: both call these very functions.

A guard says no to a whole order; an order that brings a position closer to flat always passes.
"""

from __future__ import annotations

from typing import NamedTuple

from configs.risk import RiskSettings

# Name by code; 0 is approval, and the guards are asked in this order.
GUARDS = ("", "drawdown", "daily_loss", "position", "gross", "net", "concentration", "order_rate")
_APPROVED, _DRAWDOWN, _DAILY_LOSS, _POSITION, _GROSS, _NET, _CONCENTRATION, _ORDER_RATE = range(8)

# A position sized exactly to its limit must not fail on the last bit of a float product.
_LIMIT_SLACK = 1 + 1e-9
# The first position of a book is all of it. A book counts as at least this share of what it may become, or none could ever be begun.
_SMALL_BOOK = 0.5


class Limits(NamedTuple):
    """Fractions of equity (`concentration`: of gross), and orders per minute of market time."""

    position: float
    gross: float
    net: float
    concentration: float
    orders_per_minute: int


class Stake(NamedTuple):
    """An order of `delta_lots` on a position of `position_lots` (both signed); `close` in quote, `lot` in base."""

    delta_lots: int
    position_lots: int
    close: float
    lot: float


class Standing(NamedTuple):
    """The account before an order: equity, sums of absolute and of signed positions at their closes (quote), orders approved in this minute, two latches."""

    equity: float
    gross: float
    net: float
    sent: int
    reducing: bool
    day_reducing: bool


def limits_of(settings: RiskSettings) -> Limits:
    """The limits as `check` wants them."""
    return Limits(settings.max_position_weight, settings.max_gross_weight, settings.max_net_weight, settings.max_concentration, settings.max_orders_per_minute)


def check(order: Stake, account: Standing, limits: Limits) -> int:
    """Code of the first guard that refuses the order, or 0. With equity <= 0 no position can grow. A net position may always come closer to 0."""
    held, after = abs(order.position_lots), abs(order.position_lots + order.delta_lots)
    if after < held:
        return _APPROVED
    if account.reducing:
        return _DRAWDOWN
    if account.day_reducing:
        return _DAILY_LOSS
    notional, equity = after * order.lot * order.close, account.equity
    if notional > limits.position * equity * _LIMIT_SLACK:
        return _POSITION
    gross = account.gross + (after - held) * order.lot * order.close
    if gross > limits.gross * equity * _LIMIT_SLACK:
        return _GROSS
    net = abs(account.net + order.delta_lots * order.lot * order.close)
    if net > limits.net * equity * _LIMIT_SLACK and net > abs(account.net):
        return _NET
    if notional > limits.concentration * max(gross, _SMALL_BOOK * limits.gross * equity) * _LIMIT_SLACK:
        return _CONCENTRATION
    if account.sent >= limits.orders_per_minute:
        return _ORDER_RATE
    return _APPROVED


def drawdown_floor(peak: float, max_drawdown: float) -> float:
    """Equity at or below which the account has fallen by the fraction `max_drawdown` or more from `peak` (both in quote)."""
    return peak * (1 - max_drawdown)


def daily_floor(day_first: float, max_daily_loss: float) -> float:
    """Equity at or below which the account has lost the fraction `max_daily_loss` or more since the UTC day's first mark (both in quote)."""
    return day_first * (1 - max_daily_loss)
