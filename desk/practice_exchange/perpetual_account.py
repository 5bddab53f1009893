"""What the contract account is worth and what of it is bound: cross margin, one purse per margin asset, one-way positions.

The mark price of a symbol is the close of its last closed bar; it stands still within a bar.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from configs.vocabulary import Side
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.margin import DEFAULT_LEVERAGE, liquidation_price, maintenance
from desk.practice_exchange.perpetual_book import ContractBook
from desk.practice_exchange.tape import Tape

# Contracts are settled in these; a symbol quoted in anything else has none.
MARGIN_ASSETS = ("USDT", "USDC")


@dataclass(frozen=True, slots=True)
class Holding:
    """One position with its margins. `orders_margin` is what open orders bind beyond the position."""

    symbol: str
    quantity: Decimal
    entry: Decimal
    mark: Decimal
    unrealised: Decimal
    initial: Decimal
    orders_margin: Decimal
    maintenance: Decimal
    updated_ms: int

    @property
    def notional(self) -> Decimal:
        """Signed worth at the mark price."""
        return self.quantity * self.mark


@dataclass(frozen=True, slots=True)
class Standing:
    """One margin asset: its wallet and the sums over its positions."""

    asset: str
    wallet: Decimal
    unrealised: Decimal
    initial: Decimal
    orders_margin: Decimal
    maintenance: Decimal

    @property
    def balance(self) -> Decimal:
        """The margin balance: wallet plus unrealised profit."""
        return self.wallet + self.unrealised

    @property
    def available(self) -> Decimal:
        """What new orders may bind, never below 0."""
        return max(self.balance - self.initial - self.orders_margin, ZERO)


class ContractAccount:
    """Reads book and tape at a boundary; changes nothing."""

    def __init__(self, tape: Tape, book: ContractBook) -> None:
        self.listings = {symbol: listing for symbol, listing in tape.listings.items() if listing.quote in MARGIN_ASSETS}
        self.assets = tuple(sorted({listing.quote for listing in self.listings.values()}))
        self._tape = tape
        self._book = book

    def listing(self, symbol: str) -> Listing:
        """The grid of a symbol: that of its spot market."""
        return self.listings[symbol]

    def leverage(self, symbol: str) -> int:
        """The leverage chosen for a symbol."""
        return self._book.leverage.get(symbol, DEFAULT_LEVERAGE)

    def mark(self, symbol: str, at_ms: int) -> Decimal:
        """The mark price at a boundary: the last close, or the first open before any bar has closed."""
        candles = self._tape.candles[symbol]
        closed = candles.before(at_ms)
        return Decimal(str(float(candles.close[closed - 1] if closed else candles.open[0])))

    def holding(self, symbol: str, at_ms: int) -> Holding:
        """The position in a symbol at a boundary, flat or not."""
        position, mark = self._book.ledger.held(symbol), self.mark(symbol, at_ms)
        notional = abs(position.quantity) * mark
        initial = notional / self.leverage(symbol)
        bound = self.bound(symbol, at_ms)
        unrealised = position.unrealised(mark)
        return Holding(symbol, position.quantity, position.entry_price, mark, unrealised, initial, bound - initial, maintenance(notional), position.updated_ms)

    def bound(self, symbol: str, at_ms: int, extra: Decimal = ZERO, leverage: int | None = None) -> Decimal:
        """The initial margin of a symbol with `extra` signed notional of orders more: the worse of all buys filling and all sells filling."""
        held = self._book.ledger.held(symbol).quantity * self.mark(symbol, at_ms)
        bids, asks = max(extra, ZERO), max(-extra, ZERO)
        for order in self._book.open_orders(symbol):
            if not order.reduces and order.side is Side.BUY:
                bids += order.remaining * order.price
            elif not order.reduces:
                asks += order.remaining * order.price
        return max(abs(held), abs(held + bids), abs(held - asks)) / (leverage or self.leverage(symbol))

    def standing(self, asset: str, at_ms: int) -> Standing:
        """A margin asset at a boundary."""
        holdings = [self.holding(symbol, at_ms) for symbol in self._symbols(asset)]
        sums = (sum((getattr(each, name) for each in holdings), ZERO) for name in ("unrealised", "initial", "orders_margin", "maintenance"))
        return Standing(asset, self._book.ledger.purse(asset).wallet, *sums)

    def liquidation_price(self, symbol: str, at_ms: int) -> Decimal | None:
        """The mark price of a symbol at which its asset's margin balance equals maintenance, all other marks standing still."""
        position, asset = self._book.ledger.held(symbol), self.listing(symbol).quote
        spare = self._book.ledger.purse(asset).wallet
        for other in self._symbols(asset):
            if other != symbol:
                holding = self.holding(other, at_ms)
                spare += holding.unrealised - holding.maintenance
        return liquidation_price(position.quantity, position.cost, spare)

    def _symbols(self, asset: str) -> Iterable[str]:
        """Symbols settled in an asset with a position or an open order."""
        held = {symbol for symbol, position in self._book.ledger.positions.items() if position.quantity}
        held |= {order.symbol for order in self._book.open_orders()}
        return [symbol for symbol in sorted(held) if self.listing(symbol).quote == asset]
