"""Double entry for perpetual contracts, in Decimal.

Per margin asset, wallet + carried + street + commission + funding + insurance is the amount deposited, always and exactly. `carried` is minus
the cost of the open positions, `street` every notional ever traded with its sign, so that wallet plus unrealised profit never depends on how
profits were cut into realised pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal

from desk.practice_exchange.ledger import ZERO

AMOUNT_STEP = Decimal("1e-8")


@dataclass(slots=True)
class Purse:
    """Where an amount of one margin asset can be."""

    deposited: Decimal = ZERO
    wallet: Decimal = ZERO
    carried: Decimal = ZERO
    street: Decimal = ZERO
    commission: Decimal = ZERO
    funding: Decimal = ZERO
    insurance: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Everything, wherever it is: the amount deposited."""
        return sum((getattr(self, field.name) for field in fields(self) if field.name != "deposited"), ZERO)


@dataclass(slots=True)
class Position:
    """A signed quantity and what it was entered for, with its sign; `realised` is the profit taken so far, before fees."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    updated_ms: int = 0

    @property
    def entry_price(self) -> Decimal:
        """Cost per unit, 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit at a mark price."""
        return self.quantity * mark - self.cost


FLAT = Position()


class ContractLedger:
    """The books of the one account that trades contracts here."""

    def __init__(self, purses: dict[str, Purse], positions: dict[str, Position]) -> None:
        self.purses = purses
        self.positions = positions

    def purse(self, asset: str) -> Purse:
        """The purse of an asset, opened when it is new."""
        return self.purses.setdefault(asset, Purse())

    def position(self, symbol: str) -> Position:
        """The position in a symbol, flat when it is new."""
        return self.positions.setdefault(symbol, Position())

    def held(self, symbol: str) -> Position:
        """What is held of a symbol; to look at, not to change."""
        return self.positions.get(symbol, FLAT)

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Bring in an amount from outside."""
        purse = self.purse(asset)
        purse.deposited += amount
        purse.wallet += amount

    def trade(self, symbol: str, asset: str, quantity: Decimal, price: Decimal, commission: Decimal) -> Decimal:
        """Book a signed quantity at a price; returns the realised profit. A trade through zero closes first and opens with the rest."""
        position, purse = self.position(symbol), self.purse(asset)
        closing = -position.quantity if abs(quantity) > abs(position.quantity) else quantity
        if position.quantity * quantity >= 0:
            closing = ZERO
        released = self._release(position, closing)
        realised = -closing * price - released if closing else ZERO
        opened = (quantity - closing) * price
        position.quantity += quantity
        position.cost += opened - released
        position.realised += realised
        purse.street += quantity * price
        purse.carried -= opened - released
        purse.wallet += realised - commission
        purse.commission += commission
        return realised

    def pay_funding(self, asset: str, amount: Decimal) -> None:
        """Pay funding; a negative amount is received."""
        purse = self.purse(asset)
        purse.wallet -= amount
        purse.funding += amount

    def pay_insurance(self, asset: str, amount: Decimal) -> None:
        """Pay into the insurance fund; with a negative amount the fund makes good what the wallet lacks."""
        purse = self.purse(asset)
        purse.wallet -= amount
        purse.insurance += amount

    def _release(self, position: Position, closing: Decimal) -> Decimal:
        """The cost, signed, of the part that is closed. The last part takes all that is left, so that rounding never stays behind."""
        if not closing:
            return ZERO
        if closing == -position.quantity:
            return position.cost
        return (position.cost * -closing / position.quantity).quantize(AMOUNT_STEP, ROUND_HALF_EVEN)
