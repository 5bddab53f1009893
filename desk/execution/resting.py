"""When a bar reaches an order that waits, and at what price: the path inside a bar that does us least good.

A bar is walked from its open to the extreme that hurts. So a stop is reached whenever the bar's range reaches it, also in the bar that
opened its position; beyond a gap it fills at the open, not at its price. A limit fills only when the market trades through it, not at a touch.
"""

from __future__ import annotations

from typing import NamedTuple

from configs.vocabulary import OrderKind, OrderLife
from desk.events import Bar, Order


class Touch(NamedTuple):
    """Where an order executes: `price` in quote, worse by spread and impact when it `crosses`, never worse than `limit` (nan: none)."""

    price: float
    crosses: bool
    limit: float = float("nan")


def touch(order: Order, bar: Bar, *, rested: bool) -> Touch | None:
    """Where `bar` executes a waiting order; None where it does not. `rested`: it stood in the book before this bar. No market orders here."""
    if order.kind is OrderKind.STOP:
        # Of a bar that reaches both, what hurts came first.
        return _stop(order, bar) or _gain(order, bar)
    if order.kind is OrderKind.TAKE_PROFIT:
        return _take_profit(order, bar)
    if order.kind is OrderKind.STOP_LIMIT:
        return _stop_limit(order, bar)
    return _limit(order, bar, rested)


def triggered(order: Order, bar: Bar) -> bool:
    """Whether a stop-limit became a limit in this bar."""
    return order.kind is OrderKind.STOP_LIMIT and _stop(order, bar) is not None


def _stop(order: Order, bar: Bar) -> Touch | None:
    sign, stop = order.side.sign, float(order.stop_price or 0)
    worst = bar.high if sign > 0 else bar.low
    if sign * (worst - stop) < 0:
        return None
    return Touch(bar.open if sign * (bar.open - stop) >= 0 else stop, crosses=True)


def _gain(order: Order, bar: Bar) -> Touch | None:
    """A gain is a resting limit: it fills at its price when the market trades through it, a gap in its favour brings no more."""
    if order.price is None:
        return None
    sign, limit = order.side.sign, float(order.price)
    best = bar.low if sign > 0 else bar.high
    return Touch(limit, crosses=False) if sign * (limit - best) > 0 else None


def _take_profit(order: Order, bar: Bar) -> Touch | None:
    sign, stop = order.side.sign, float(order.stop_price or 0)
    best = bar.low if sign > 0 else bar.high
    if sign * (stop - best) < 0:
        return None
    return Touch(bar.open if sign * (stop - bar.open) >= 0 else stop, crosses=True)


def _stop_limit(order: Order, bar: Bar) -> Touch | None:
    reached, limit = _stop(order, bar), float(order.price or 0)
    if reached is None or order.side.sign * (reached.price - limit) > 0:
        return None
    return Touch(reached.price, crosses=True, limit=limit)


def _limit(order: Order, bar: Bar, rested: bool) -> Touch | None:
    sign, limit = order.side.sign, float(order.price or 0)
    best = bar.low if sign > 0 else bar.high
    if sign * (limit - bar.open) >= 0 and not rested:
        return None if order.kind is OrderKind.POST_ONLY else Touch(bar.open, crosses=True, limit=limit)
    at_once = order.life in (OrderLife.IOC, OrderLife.FOK)
    return None if at_once or sign * (limit - best) <= 0 else Touch(limit, crosses=False)
