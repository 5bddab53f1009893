"""What we own: a fold over fills, exact in Decimal, in which the same trade counts once however often it is reported."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from configs.vocabulary import Side
from desk.errors import NotFinite
from desk.events import Fill
from desk.instruments import Instrument


class Portfolio:
    """Cash in the quote currency, positions in base units by symbol, fees paid by asset.

    `entries` is the average price (quote) at which each open position was entered; positions that were there at the opening have none.
    """

    def __init__(self, instruments: Mapping[str, Instrument], cash: Decimal, positions: Mapping[str, Decimal] | None = None) -> None:
        self.cash = cash
        self.positions = {symbol: (positions or {}).get(symbol, Decimal(0)) for symbol in sorted(instruments)}
        self.fees: dict[str, Decimal] = {}
        self.entries: dict[str, Decimal] = {}
        self._instruments = dict(instruments)
        self._lot = {symbol: float(instrument.lot) for symbol, instrument in instruments.items()}
        self._trades: set[tuple[str, str]] = set()
        self.lots = {symbol: self._whole_lots(symbol) for symbol in self.positions}

    @classmethod
    def of_balances(cls, instruments: Mapping[str, Instrument], quote: str, balances: Mapping[str, Decimal]) -> Portfolio:
        """The book an account opens with: what it holds of the quote currency and of every instrument's base."""
        positions = {symbol: balances.get(each.base, Decimal(0)) for symbol, each in instruments.items()}
        return cls(instruments, balances.get(quote, Decimal(0)), positions)

    def apply(self, fill: Fill) -> bool:
        """Book a fill. False when this (symbol, trade id) was booked before, and nothing changes."""
        key = (fill.symbol, fill.trade_id)
        if key in self._trades:
            return False
        instrument = self._instruments[fill.symbol]
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        self._enter(fill, signed)
        self.positions[fill.symbol] += signed
        self.cash -= signed * fill.price
        self.fees[fill.fee_asset] = self.fees.get(fill.fee_asset, Decimal(0)) + fill.fee
        if fill.fee_asset == instrument.quote:
            self.cash -= fill.fee
        elif fill.fee_asset == instrument.base:
            self.positions[fill.symbol] -= fill.fee
        # A fee in a third asset (a discount token) touches neither cash nor position: only `fees` knows it.
        self.lots[fill.symbol] = self._whole_lots(fill.symbol)
        self._trades.add(key)
        return True

    def equity(self, closes: Mapping[str, float]) -> float:
        """Cash plus whole lots at their last close, in the quote currency. Dust below one lot counts as nothing: it cannot be sold."""
        total = float(self.cash)
        for symbol, lots in self.lots.items():
            if lots:
                if symbol not in closes:
                    raise NotFinite(f"expected a close of {symbol} to value {lots} lots, found none: warm up on more bars, or sell it first")
                total += lots * self._lot[symbol] * closes[symbol]
        return total

    def balances(self) -> dict[str, Decimal]:
        """The same by currency, as a venue would report it."""
        balances = {instrument.quote: self.cash for instrument in self._instruments.values()}
        for symbol, position in self.positions.items():
            balances[self._instruments[symbol].base] = position
        return balances

    def _enter(self, fill: Fill, signed: Decimal) -> None:
        """The entry price after a fill of `signed` base units: an average while a position grows, the fill's own once it turns."""
        held, lot = self.positions[fill.symbol], self._instruments[fill.symbol].lot
        after = held + signed
        if abs(after) < lot:
            self.entries.pop(fill.symbol, None)
        elif abs(held) < lot or held * after < 0:
            self.entries[fill.symbol] = fill.price
        elif held * signed > 0 and fill.symbol in self.entries:
            self.entries[fill.symbol] = (self.entries[fill.symbol] * held + fill.price * signed) / after

    def _whole_lots(self, symbol: str) -> int:
        return int(self.positions[symbol] / self._instruments[symbol].lot)
