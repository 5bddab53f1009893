"""What can happen at a desk, as immutable values.

Everything the journal keeps and the session consumes is defined here. Prices and sizes of market data are float (research); from the
moment an order exists, quantities and prices are Decimal on the instrument's grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from configs.vocabulary import OrderKind, OrderLife, Side, Timeframe, TradingState


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar: known only at `closed_at`. Times are aware UTC; volume is in base units."""

    symbol: str
    timeframe: Timeframe
    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def closed_at(self) -> datetime:
        """The instant from which this bar may be known."""
        return self.open_time + self.timeframe.delta


@dataclass(frozen=True, slots=True)
class BarsClosed:
    """Every bar that closed at one instant, in symbol order. A symbol without a bar is absent, never filled."""

    closed_at: datetime
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Distribution of the log return over the next `horizon_bars` bars after `closed_at`: mean and sd, fractions."""

    symbol: str
    closed_at: datetime
    mean: float
    sd: float
    model: str


@dataclass(frozen=True, slots=True)
class Target:
    """Wanted exposure in [-1, 1] decided at `closed_at`, executed from the next open on. `hash` depends on what was seen, never on the book."""

    symbol: str
    closed_at: datetime
    exposure: float
    hash: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order intent. `order_id` is a pure function of (decision, leg, attempt) and at most 36 characters.

    An order that says no more is a market order that lives for one bar: what is not filled is cancelled and decided afresh. `price` belongs
    to limits, and to stops that also close at a gain; `stop_price` to orders that sleep until the market reaches it, both in quote. `reduce_only`
    never grows or turns a position: the venue cuts it to what is held.
    """

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    decided_at: datetime
    reference_price: Decimal
    kind: OrderKind = OrderKind.MARKET
    life: OrderLife = OrderLife.BAR
    price: Decimal | None = None
    stop_price: Decimal | None = None
    reduce_only: bool = False


@dataclass(frozen=True, slots=True)
class Approved:
    """An order that every guard let pass: the only thing a venue accepts."""

    order: Order


@dataclass(frozen=True, slots=True)
class Refused:
    """An order that a guard stopped, with the guard's name and the reason."""

    order: Order
    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `trade_id` is unique per venue and symbol: the ledger deduplicates by it. Fee is positive, in `fee_asset`.

    `fee_worth` is the fee in quote where the asset is neither the symbol's base nor its quote; None: nobody knows.
    """

    order_id: str
    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    at: datetime
    fee_worth: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Money that came to the account from outside (`amount` > 0) or left it (< 0), in units of `asset`. `cause` is deposit or withdrawal."""

    flow_id: str
    cause: str
    asset: str
    amount: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Control:
    """What a session is told from outside the market: the state wanted of it and why, how often it was resumed so far, whether its data is too old."""

    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    resumed: int = 0
    stale: bool = False


ACTIVE = Control()
