"""When a sleeping order wakes up: stops, take-profits, and triggers that trail the market. Pure arithmetic on one order and one price."""

from __future__ import annotations

from decimal import Decimal

from configs.vocabulary import Side
from desk.practice_exchange.orders import ZERO, Kind, Order, Ticket

BIPS = Decimal(10_000)


def direction(side: Side, kind: Kind) -> int:
    """+1: waits for the price to rise, -1: to fall. A buyer's stop lies above the market, a buyer's take-profit below it."""
    return side.sign if kind in (Kind.STOP_LOSS, Kind.STOP_LOSS_LIMIT) else -side.sign


def trigger(order: Order) -> Decimal | None:
    """The price that wakes the order now, or None while its trailing has not begun."""
    if not order.trailing_bips:
        return order.stop_price
    if not order.reference:
        return None
    return order.reference * (1 + direction(order.side, order.kind) * order.trailing_bips / BIPS)


def crossed(order: Order, price: Decimal) -> bool:
    """Whether a trade at this price wakes the order."""
    level = trigger(order)
    return level is not None and direction(order.side, order.kind) * (price - level) >= 0


def follow(order: Order, before: Decimal, price: Decimal) -> bool:
    """Let a trailing trigger see the price go from one trade to the next; True when its reference moved.

    Trailing begins at once without a stop price, else when the market reaches it; from then on the reference is the lowest price for a trigger
    above the market and the highest for one below.
    """
    if not order.trailing_bips:
        return False
    reference, away = order.reference, -direction(order.side, order.kind)
    if not reference:
        reached = not order.stop_price or min(before, price) <= order.stop_price <= max(before, price)
        order.reference = (order.stop_price or price) if reached else ZERO
    if order.reference and away * (price - order.reference) > 0:
        order.reference = price
    return order.reference != reference


def at_once(ticket: Ticket, price: Decimal) -> bool:
    """Whether a conditional order that does not trail would wake at the market's price already."""
    return not ticket.trailing_bips and direction(ticket.side, ticket.kind) * (price - ticket.stop_price) >= 0
