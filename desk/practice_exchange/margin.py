"""Margin of perpetual contracts: leverage brackets, what a position must keep, and the price at which it no longer can.

One table of brackets for every contract, with the bounds Binance publishes for its deepest one. Amounts are in the margin asset.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from desk.practice_exchange.ledger import ZERO

DEFAULT_LEVERAGE = 20
# A liquidated position pays this share of its notional to the insurance fund, as far as the wallet reaches.
CLEARANCE_RATE = Decimal("0.0125")
# A margin call is sent once maintenance takes this share of the margin balance.
CALL_SHARE = Decimal("0.8")

# (largest notional, most leverage, maintenance rate)
TABLE = (
    (50_000, 125, "0.004"),
    (250_000, 100, "0.005"),
    (1_000_000, 50, "0.01"),
    (10_000_000, 20, "0.025"),
    (20_000_000, 10, "0.05"),
    (50_000_000, 5, "0.1"),
    (100_000_000, 4, "0.125"),
    (200_000_000, 3, "0.15"),
    (300_000_000, 2, "0.25"),
    (500_000_000, 1, "0.5"),
)


@dataclass(frozen=True, slots=True)
class Bracket:
    """Notionals from `floor` to `cap`: the most leverage, the maintenance rate, and what makes maintenance continuous at the floor."""

    number: int
    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    deduction: Decimal


def _brackets() -> tuple[Bracket, ...]:
    found: list[Bracket] = []
    floor, rate_before, deduction = ZERO, ZERO, ZERO
    for number, (cap, leverage, rate_text) in enumerate(TABLE, start=1):
        rate = Decimal(rate_text)
        # The first bracket deducts nothing: its floor is 0.
        deduction += floor * (rate - rate_before)
        found.append(Bracket(number, leverage, floor, Decimal(cap), rate, deduction))
        floor, rate_before = Decimal(cap), rate
    return tuple(found)


BRACKETS = _brackets()
MOST_LEVERAGE = BRACKETS[0].leverage


def bracket_of(notional: Decimal) -> Bracket:
    """The bracket of a notional >= 0; beyond the last cap the last one."""
    return next((bracket for bracket in BRACKETS if notional <= bracket.cap), BRACKETS[-1])


def largest_notional(leverage: int) -> Decimal:
    """The largest position that may be held at this leverage."""
    return max(bracket.cap for bracket in BRACKETS if bracket.leverage >= leverage)


def maintenance(notional: Decimal) -> Decimal:
    """What a position of this notional >= 0 must keep."""
    bracket = bracket_of(notional)
    return notional * bracket.rate - bracket.deduction


def liquidation_price(quantity: Decimal, cost: Decimal, spare: Decimal) -> Decimal | None:
    """The mark price at which margin balance equals maintenance, or None when no price > 0 does.

    `quantity` is signed, `cost` what the position was entered for (signed), `spare` the wallet plus what other positions have won or lost,
    minus their maintenance. Solves spare + quantity * p - cost = |quantity| * p * rate - deduction in the bracket in which p falls.
    """
    if not quantity:
        return None
    for bracket in BRACKETS:
        slope = abs(quantity) * bracket.rate - quantity
        price = (spare - cost + bracket.deduction) / slope
        if price > 0 and bracket.floor <= abs(quantity) * price <= bracket.cap:
            return price
    return None
