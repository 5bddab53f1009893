"""Orders on perpetual contracts as the exchange keeps them: plain orders, and watches, which make a plain order when a price is reached.

Amounts are Decimal, times market milliseconds. 0 stands for an amount that does not apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from configs.vocabulary import Side
from desk.practice_exchange.ledger import ZERO

HUNDRED = Decimal(100)


class ContractKind(StrEnum):
    """What a plain order asks for."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class WatchKind(StrEnum):
    """What a watch waits for, and what it makes: a limit order (STOP, TAKE_PROFIT) or a market order."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING = "TRAILING_STOP_MARKET"

    @property
    def limited(self) -> bool:
        """Whether it makes a limit order."""
        return self in (WatchKind.STOP, WatchKind.TAKE_PROFIT)


class ContractLife(StrEnum):
    """How long an order wants to live."""

    UNTIL_CANCELLED = "GTC"
    NOW_OR_NEVER = "IOC"
    ALL_OR_NOTHING = "FOK"
    POST_ONLY = "GTX"


class ContractStatus(StrEnum):
    """Where a plain order stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class WatchStatus(StrEnum):
    """Where a watch stands; REJECTED: its price was reached, but its order could not be accepted."""

    NEW = "NEW"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class ContractTicket:
    """A plain order as it is handed in. `closes`: whatever the position is when it fills."""

    symbol: str
    side: Side
    kind: ContractKind
    life: ContractLife
    quantity: Decimal
    price: Decimal
    reduces: bool
    client_id: str
    origin: str
    closes: bool = False


@dataclass(frozen=True, slots=True)
class WatchTicket:
    """A conditional order as it is handed in. Trailing: `callback` in percent, and `trigger` the price at which it begins to follow (0: at once)."""

    symbol: str
    side: Side
    kind: WatchKind
    life: ContractLife
    quantity: Decimal
    price: Decimal
    trigger: Decimal
    callback: Decimal
    by_mark: bool
    reduces: bool
    closes: bool
    client_id: str


@dataclass(slots=True)
class ContractOrder:
    """An accepted order. `rank` orders equal prices by time; changing an order gives it a new one."""

    id: int
    rank: int
    client_id: str
    symbol: str
    side: Side
    kind: ContractKind
    life: ContractLife
    origin: str
    quantity: Decimal
    price: Decimal
    reduces: bool
    closes: bool
    accepted_ms: int
    updated_ms: int
    status: ContractStatus = ContractStatus.NEW
    filled: Decimal = ZERO
    worth: Decimal = ZERO

    @property
    def open(self) -> bool:
        """Whether it can still fill."""
        return self.status in (ContractStatus.NEW, ContractStatus.PARTIALLY_FILLED)

    @property
    def remaining(self) -> Decimal:
        """Quantity still to fill."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """Price per unit of what was filled, 0 before the first fill."""
        return self.worth / self.filled if self.filled else ZERO


@dataclass(slots=True)
class Watch:
    """An accepted conditional order. `extreme`: the best price since it follows, 0 while it does not."""

    id: int
    client_id: str
    symbol: str
    side: Side
    kind: WatchKind
    life: ContractLife
    quantity: Decimal
    price: Decimal
    trigger: Decimal
    callback: Decimal
    by_mark: bool
    reduces: bool
    closes: bool
    accepted_ms: int
    updated_ms: int
    status: WatchStatus = WatchStatus.NEW
    extreme: Decimal = ZERO
    triggered_ms: int = 0
    order_id: int = 0
    reason: str = ""

    @property
    def rises(self) -> bool:
        """Whether it is reached from below: stops that buy and profits that sell."""
        return (self.side is Side.BUY) != (self.kind in (WatchKind.TAKE_PROFIT, WatchKind.TAKE_PROFIT_MARKET))

    @property
    def level(self) -> Decimal | None:
        """The price that reaches it, or None for a trailing one that does not follow yet."""
        if self.kind is not WatchKind.TRAILING:
            return self.trigger
        return self.extreme * (1 + self.side.sign * self.callback / HUNDRED) if self.extreme else None

    def reached(self, price: Decimal) -> bool:
        """Whether this price reaches it."""
        level = self.level
        return level is not None and (price >= level if self.rises else price <= level)

    def follow(self, price: Decimal) -> bool:
        """Let a trailing watch see a price: begin to follow, or move the extreme. Returns whether anything changed."""
        if self.kind is not WatchKind.TRAILING:
            return False
        sign = self.side.sign
        if not self.extreme:
            if self.trigger and sign * (price - self.trigger) > 0:
                return False
            self.extreme = price
            return True
        if sign * (price - self.extreme) >= 0:
            return False
        self.extreme = price
        return True


@dataclass(frozen=True, slots=True)
class ContractFill:
    """One trade of ours; `realised` is the profit it took, before commission."""

    id: int
    order_id: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    realised: Decimal
    at_ms: int
    maker: bool


@dataclass(frozen=True, slots=True)
class Income:
    """An amount that moved the wallet: FUNDING_FEE, REALIZED_PNL, COMMISSION or INSURANCE_CLEAR."""

    id: int
    kind: str
    symbol: str
    asset: str
    amount: Decimal
    at_ms: int
    detail: str
