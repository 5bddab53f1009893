"""What we own: a fold over fills, exact in Decimal, in which the same trade counts once however often it is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from configs.vocabulary import Side
from desk.errors import NotFinite
from desk.events import Fill, Flow
from desk.instruments import Instrument


def fee_in_quote(fill: Fill, instrument: Instrument) -> Decimal | None:
    """What an execution's fee is worth in the quote currency; None when it was paid in a third asset of which no price was known."""
    if fill.fee_asset == instrument.quote or not fill.fee:
        return fill.fee
    return fill.fee * fill.price if fill.fee_asset == instrument.base else fill.fee_worth


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
        self._flows: set[str] = set()
        self.lots = {symbol: self._whole_lots(symbol) for symbol in self.positions}

    @classmethod
    def of_balances(cls, instruments: Mapping[str, Instrument], quote: str, balances: Mapping[str, Decimal]) -> Portfolio:
        """The book an account opens with: what it holds of the quote currency and of every instrument's base."""
        positions = {symbol: balances.get(each.base, Decimal(0)) for symbol, each in instruments.items()}
        return cls(instruments, balances.get(quote, Decimal(0)), positions)

    @classmethod
    def of_state(cls, instruments: Mapping[str, Instrument], state: Mapping[str, Any]) -> Portfolio:
        """The inverse of `state`."""
        positions, fees, entries = ({name: Decimal(text) for name, text in state[part].items()} for part in ("positions", "fees", "entries"))
        made = cls(instruments, Decimal(state["cash"]), positions)
        made.fees, made.entries = fees, entries
        made.know(flows=state["flows"])
        return made

    def state(self) -> dict[str, Any]:
        """All of it in JSON's values, but for the trades that were booked."""
        parts = {"positions": self.positions, "fees": self.fees, "entries": self.entries}
        exact = {part: {name: str(amount) for name, amount in amounts.items()} for part, amounts in parts.items()}
        return {"cash": str(self.cash), **exact, "flows": sorted(self._flows)}

    def know(self, *, trades: Iterable[Sequence[str]] = (), flows: Iterable[str] = ()) -> None:
        """Count these (symbol, trade id) and flow ids as booked."""
        self._trades.update((symbol, trade_id) for symbol, trade_id in trades)
        self._flows.update(flows)

    def news(self, flows: Iterable[Flow], since: datetime) -> tuple[Flow, ...]:
        """The flows of our currencies since then that were not booked before."""
        ours = self.balances()
        return tuple(flow for flow in flows if flow.at >= since and flow.flow_id not in self._flows and flow.asset in ours)

    def move(self, flow: Flow) -> bool:
        """Book money that came or went. False when it was booked before, and nothing changes."""
        if flow.flow_id in self._flows:
            return False
        symbol = self._symbol_of(flow.asset)
        if symbol is None:
            self.cash += flow.amount
        else:
            self.positions[symbol] += flow.amount
            self.lots[symbol] = self._whole_lots(symbol)
        self._flows.add(flow.flow_id)
        return True

    def worth(self, flow: Flow, closes: Mapping[str, float]) -> float:
        """What a flow is worth in the quote currency at these closes."""
        symbol = self._symbol_of(flow.asset)
        if symbol is None:
            return float(flow.amount)
        if symbol not in closes:
            raise NotFinite(f"expected a close of {symbol} to value {flow.amount} {flow.asset}, found none: warm up on more bars")
        return float(flow.amount) * closes[symbol]

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
        elif (payer := self._symbol_of(fill.fee_asset)) is not None:
            # A discount token that is traded here too: the fee comes out of its position.
            self.positions[payer] -= fill.fee
            self.lots[payer] = self._whole_lots(payer)
        # A fee in an asset that is not traded here touches neither cash nor position: only `fees` knows it.
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

    def _symbol_of(self, asset: str) -> str | None:
        """The symbol whose position holds an asset; None: it is the quote currency."""
        return next((symbol for symbol, each in self._instruments.items() if each.base == asset), None)

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
