"""The market in Binance's shapes: klines, trades, books and tickers, cut at the market clock. Nothing later than now is ever looked at.

A bar is told as four trades - open, the nearer extreme, the other one, close - of a quarter of its volume each: enough for the shapes, and
consistent with the candle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from desk.practice_exchange.dialects.binance.filters import DECIMALS, filters_of, fixed
from desk.practice_exchange.dialects.binance.orders import SELF_TRADE_RULE
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.orders import Kind
from desk.practice_exchange.path import path_of
from desk.practice_exchange.tape import Candles

Payload = dict[str, Any]

INTERVALS_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
DAY_MS = INTERVALS_MS["1d"]
TRADES_PER_BAR = 4
LEVELS = 100
BEST_STEPS = 10  # enough of the book to know its first level
NOTHING = (Decimal(0), Decimal(0))

Level = tuple[Decimal, Decimal]
ROW = '[%d,"%.8f","%.8f","%.8f","%.8f","%.8f",%d,"%.8f",%d,"%.8f","%.8f","0"]'


class Print(NamedTuple):
    """One trade of the market; `buyer_made`: the buyer's order was resting."""

    id: int
    price: float
    quantity: float
    at_ms: int
    buyer_made: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A question about time: from, to (open times, inclusive), at most so many."""

    since_ms: int | None
    until_ms: int | None
    limit: int

    def holds(self, at_ms: int) -> bool:
        """Whether an instant lies within it."""
        return (self.since_ms is None or self.since_ms <= at_ms) and (self.until_ms is None or at_ms <= self.until_ms)


class Market:
    """What the public may see of an exchange at its market time."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tape = exchange.tape
        self._aggregates: dict[tuple[str, int], Candles] = {}

    def serves(self, interval: str) -> bool:
        """Whether candles of this length can be made of the tape's."""
        step = INTERVALS_MS.get(interval)
        return step is not None and step % self._tape.timeframe.milliseconds == 0

    def listed(self, symbol: str) -> bool:
        """Whether the symbol has printed anything yet: before its first bar an exchange does not know it."""
        return int(self._tape.candles[symbol].times[0]) <= self._exchange.clock.settled_ms

    def klines(self, symbol: str, interval: str, asked: Range) -> str:
        """Candles as a JSON text, the forming one last when the range reaches it."""
        step = INTERVALS_MS[interval]
        candles = self._candles(symbol, step)
        closed = candles.before(self._told_until_ms(symbol) - step + 1)
        first = 0 if asked.since_ms is None else min(candles.before(asked.since_ms), closed)
        last = closed if asked.until_ms is None else max(min(candles.before(asked.until_ms + 1), closed), first)
        forming = self.forming(symbol, interval)
        if forming is not None and not asked.holds(int(forming.times[0])):
            forming = None
        over = last - first + (forming is not None) - asked.limit
        if over > 0 and asked.since_ms is None:
            first = min(first + over, last)
        elif over > 0:
            last, forming = first + asked.limit, None
        rows = _rendered(candles.rows(first, last), step) + ([] if forming is None else _rendered(forming, step))
        return "[" + ",".join(rows[: asked.limit]) + "]"

    def forming(self, symbol: str, interval: str) -> Candles | None:
        """The candle that is not over yet: what closed within it, and the open of the bar that has just begun with no volume. None: nothing yet."""
        if symbol in self._exchange.halted:
            return None
        step = INTERVALS_MS[interval]
        boundary = self._exchange.clock.settled_ms
        opened = boundary - boundary % step
        candles = self._tape.candles[symbol]
        first, last = candles.before(opened), candles.before(boundary)
        row = candles.at(boundary)
        parts = candles.rows(first, last)
        if row is not None:
            begun = candles.open[row : row + 1]
            silent = Candles(candles.times[row : row + 1], begun, begun, begun, begun, np.zeros(1))
            parts = Candles(*(np.concatenate(pair) for pair in zip(parts.columns(), silent.columns(), strict=True)))
        return parts.aggregate(step) if len(parts.times) else None

    def closed(self, symbol: str, interval: str) -> Candles | None:
        """The candle that closed at the last boundary, or None."""
        step = INTERVALS_MS[interval]
        boundary = self._exchange.clock.settled_ms
        if boundary % step or symbol in self._exchange.halted:
            return None
        candles = self._candles(symbol, step)
        row = candles.at(boundary - step)
        return None if row is None else candles.rows(row, row + 1)

    def prints(self, symbol: str, first_bar: int, last_bar: int) -> list[Print]:
        """The trades of bars [first, last), which must be closed."""
        candles, step = self._tape.candles[symbol], self._tape.timeframe.milliseconds
        found = []
        for row in range(first_bar, last_bar):
            opened, close = float(candles.open[row]), float(candles.close[row])
            high, low = float(candles.high[row]), float(candles.low[row])
            path = path_of(opened, high, low, close)
            for number, price in enumerate(path):
                at_ms = int(candles.times[row]) + number * (step - 1) // (TRADES_PER_BAR - 1)
                falling = number > 0 and price < path[number - 1]
                found.append(Print(row * TRADES_PER_BAR + number, price, float(candles.volume[row]) / TRADES_PER_BAR, at_ms, falling))
        return found

    def trades(self, symbol: str, asked: Range, from_id: int | None) -> list[Print]:
        """Trades of closed bars: from an id on, in a range of time, or the newest."""
        candles, step = self._tape.candles[symbol], self._tape.timeframe.milliseconds
        closed = candles.before(self._exchange.clock.settled_ms)
        bars = asked.limit // TRADES_PER_BAR + 2
        if from_id is not None:
            first = min(max(from_id, 0) // TRADES_PER_BAR, closed)
            return [found for found in self.prints(symbol, first, min(first + bars, closed)) if found.id >= from_id][: asked.limit]
        if asked.since_ms is None:
            last = closed if asked.until_ms is None else min(candles.before(asked.until_ms + 1), closed)
            found = self.prints(symbol, max(last - bars, 0), last)
            return [each for each in found if asked.holds(each.at_ms)][-asked.limit :]
        first = min(candles.before(asked.since_ms - step + 1), closed)
        found = self.prints(symbol, first, min(first + bars, closed))
        return [each for each in found if asked.holds(each.at_ms)][: asked.limit]

    def update_id(self) -> int:
        """The book changes once per boundary, and is numbered by it."""
        return (self._exchange.clock.settled_ms - self._tape.starts_at_ms) // self._tape.timeframe.milliseconds + 1

    def levels(self, symbol: str) -> dict[str, dict[Decimal, Decimal]]:
        """Bids and asks, best first; empty while no bar is forming. What we took is not missing: our fills never change what is printed."""
        quote = self._untouched(symbol)
        if quote is None:
            return {"bids": {}, "asks": {}}
        return {"bids": dict(quote.levels(-1)), "asks": dict(quote.levels(1))}

    def best(self, symbol: str) -> tuple[Level, Level] | None:
        """The best bid and the best ask, or None while no bar is forming or it has no volume."""
        quote = self._untouched(symbol)
        if quote is None or not quote.available:
            return None
        bid, ask = (next(iter(quote.levels(sign, BEST_STEPS))) for sign in (-1, 1))
        return bid, ask

    def day(self, symbol: str) -> Payload:
        """The last 24 hours of a symbol: numbers by name, for the tickers."""
        candles, boundary = self._tape.candles[symbol], self._exchange.clock.settled_ms
        first, closed = candles.before(boundary - DAY_MS), candles.before(boundary)
        last = self.last_price(symbol)
        window = candles.rows(first, closed) if closed > first else Candles(candles.times[:1], *(np.full(1, last),) * 4, np.zeros(1))
        volume, worth = float(window.volume.sum()), float((window.volume * _typical(window)).sum())
        bid, ask = self.best(symbol) or (NOTHING, NOTHING)
        return {
            "open": float(window.open[0]),
            "high": max(float(window.high.max()), last),
            "low": min(float(window.low.min()), last),
            "last": last,
            "previous": float(candles.close[first - 1]) if first else float(window.open[0]),
            "volume": volume,
            "worth": worth,
            "average": worth / volume if volume else last,
            "bid": bid,
            "ask": ask,
            "opened_ms": boundary - DAY_MS,
            "closed_ms": boundary,
            "first_id": first * TRADES_PER_BAR,
            "last_id": closed * TRADES_PER_BAR - 1,
            "count": (closed - first) * TRADES_PER_BAR,
        }

    def last_price(self, symbol: str) -> float:
        """The price of the newest print of a listed symbol: the forming bar's open, or else the last close."""
        if symbol in self._exchange.delisted:
            return 0.0
        candles, boundary = self._tape.candles[symbol], self._told_until_ms(symbol)
        row = candles.at(boundary)
        return float(candles.open[row]) if row is not None else float(candles.close[candles.before(boundary) - 1])

    def symbol_payload(self, symbol: str) -> Payload:
        """A symbol as exchangeInfo lists it."""
        listing = self._exchange.listing(symbol)
        return {
            "symbol": listing.id,
            "status": "BREAK" if symbol in self._exchange.halted else "TRADING",
            "baseAsset": listing.base,
            "baseAssetPrecision": DECIMALS,
            "quoteAsset": listing.quote,
            "quotePrecision": DECIMALS,
            "quoteAssetPrecision": DECIMALS,
            "baseCommissionPrecision": DECIMALS,
            "quoteCommissionPrecision": DECIMALS,
            "orderTypes": sorted(kind.value for kind in Kind),
            "icebergAllowed": True,
            "ocoAllowed": True,
            "otoAllowed": False,
            "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": False,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": filters_of(listing),
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": SELF_TRADE_RULE,
            "allowedSelfTradePreventionModes": [SELF_TRADE_RULE],
        }

    def _told_until_ms(self, symbol: str) -> int:
        """Up to when a symbol's bars are told: now, or when it was halted."""
        return self._exchange.halted.get(symbol, self._exchange.clock.settled_ms)

    def _untouched(self, symbol: str) -> Quote | None:
        quote = self._exchange.quote(symbol)
        return None if quote is None else replace(quote, taken=Decimal(0))

    def _candles(self, symbol: str, step_ms: int) -> Candles:
        if step_ms == self._tape.timeframe.milliseconds:
            return self._tape.candles[symbol]
        key = (symbol, step_ms)
        if key not in self._aggregates:
            self._aggregates[key] = self._tape.candles[symbol].aggregate(step_ms)
        return self._aggregates[key]


def kline_event(candles: Candles, step_ms: int, *, final: bool) -> Payload:
    """One candle as a stream tells it, without symbol and interval."""
    row = {"o": candles.open, "c": candles.close, "h": candles.high, "l": candles.low, "v": candles.volume}
    worth = candles.volume * _typical(candles)
    amounts = {name: fixed(float(column[0])) for name, column in row.items()}
    half = {"V": fixed(float(candles.volume[0]) / 2), "Q": fixed(float(worth[0]) / 2)}
    opened = int(candles.times[0])
    return {
        "t": opened,
        "T": opened + step_ms - 1,
        "f": -1,
        "L": -1,
        **amounts,
        "n": TRADES_PER_BAR if candles.volume[0] else 0,
        "x": final,
        "q": fixed(float(worth[0])),
        **half,
        "B": "0",
    }


def level_rows(levels: dict[Decimal, Decimal], limit: int = LEVELS) -> list[list[str]]:
    """Price and quantity as text, best first."""
    return [[fixed(price), fixed(quantity)] for price, quantity in list(levels.items())[:limit]]


def _typical(candles: Candles) -> Any:
    return (candles.open + candles.high + candles.low + candles.close) / 4


def _rendered(candles: Candles, step_ms: int) -> list[str]:
    """Rows of klines, already JSON: a page of 1000 is the most frequent answer, and this is several times faster than an encoder."""
    worth = candles.volume * _typical(candles)
    counts = np.where(candles.volume > 0, TRADES_PER_BAR, 0)
    columns = (
        *candles.columns(),
        candles.times + (step_ms - 1),
        worth,
        counts,
        candles.volume / 2,
        worth / 2,
    )
    return [ROW % row for row in zip(*(column.tolist() for column in columns), strict=True)]
