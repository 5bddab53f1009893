"""The market in Kraken's shapes: pairs, candles, trades, book, ticker, time.

Two habits of Kraken are kept, because clients must cope with them: candles reach back 720 and no further, whatever is asked, and an error is a 200
whose `error` is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.market import Market, Range
from desk.practice_exchange.exchange import Exchange

ALIASES = {"BTC": "XBT", "DOGE": "XDG"}
INTERVALS = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d"}
CANDLES, TRADES_MOST, LEVELS_MOST = 720, 1000, 500
DECIMALS = 8
SECOND_MS, NANOSECONDS = 1000, 1_000_000
PREFIX = "/0/public/"
FEE_PERCENT = 0.26

Parameters = Mapping[str, str]


class _Refused(Exception):
    """The message of an error."""


class Kraken:
    """Kraken's public REST on a practice market."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        self._exchange = exchange
        self._market = market
        self._pairs = {_alias(listing.base) + _alias(listing.quote): symbol for symbol, listing in sorted(exchange.tape.listings.items())}
        self._routes: dict[str, Callable[[Parameters], Any]] = {
            "Time": self._time,
            "SystemStatus": lambda _: {"status": "online", "timestamp": self._now().isoformat()},
            "Assets": self._assets,
            "AssetPairs": self._asset_pairs,
            "OHLC": self._candles,
            "Trades": self._trades,
            "Ticker": self._tickers,
            "Depth": self._depth,
        }

    def answer(self, path: str, given: Parameters) -> tuple[int, Any]:
        """Status and body."""
        handler = self._routes.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        if handler is None:
            return 404, {"error": ["EGeneral:Unknown method"]}
        try:
            return 200, {"error": [], "result": handler(given)}
        except _Refused as refusal:
            return 200, {"error": [str(refusal)]}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._exchange.now_ms() / SECOND_MS, UTC)

    def _time(self, given: Parameters) -> Any:
        return {"unixtime": self._exchange.now_ms() // SECOND_MS, "rfc1123": self._now().strftime("%a, %d %b %y %H:%M:%S +0000")}

    def _assets(self, given: Parameters) -> Any:
        names = sorted({name for listing in self._exchange.tape.listings.values() for name in (listing.base, listing.quote)})
        rest = {"aclass": "currency", "decimals": DECIMALS, "display_decimals": 5, "status": "enabled"}
        return {_alias(name): {"altname": _alias(name), **rest} for name in names}

    def _asset_pairs(self, given: Parameters) -> Any:
        return {pair: self._pair_payload(pair, symbol) for pair, symbol in self._pairs.items() if self._market.listed(symbol)}

    def _pair_payload(self, pair: str, symbol: str) -> Any:
        listing = self._exchange.listing(symbol)
        base, quote = _alias(listing.base), _alias(listing.quote)
        return {
            "altname": pair,
            "wsname": f"{base}/{quote}",
            "aclass_base": "currency",
            "base": base,
            "aclass_quote": "currency",
            "quote": quote,
            "lot": "unit",
            "cost_decimals": 5,
            "pair_decimals": _decimals(listing.tick),
            "lot_decimals": _decimals(listing.lot),
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": [[0, FEE_PERCENT]],
            "fees_maker": [[0, FEE_PERCENT]],
            "fee_volume_currency": "ZUSD",
            "margin_call": 80,
            "margin_stop": 40,
            "ordermin": str(listing.lot),
            "costmin": str(listing.min_notional),
            "tick_size": str(listing.tick),
            "status": "cancel_only" if symbol in self._exchange.halted else "online",
        }

    def _pair(self, given: Parameters) -> tuple[str, str]:
        pair = given.get("pair", "").replace("/", "")
        if pair not in self._pairs or not self._market.listed(self._pairs[pair]):
            raise _Refused("EQuery:Unknown asset pair")
        return pair, self._pairs[pair]

    def _candles(self, given: Parameters) -> Any:
        """The newest 720 and no more; `since` (seconds) only cuts their beginning."""
        pair, symbol = self._pair(given)
        interval = INTERVALS.get(_whole(given, "interval", 1), "")
        if not self._market.serves(interval):
            raise _Refused("EGeneral:Invalid arguments:interval")
        rows = orjson.loads(self._market.klines(symbol, interval, Range(None, None, CANDLES)))
        since = _whole(given, "since", 0)
        told = [_candle(row) for row in rows if row[0] // SECOND_MS > since]
        committed = rows[-2][0] if len(rows) > 1 else 0
        return {pair: told, "last": committed // SECOND_MS}

    def _trades(self, given: Parameters) -> Any:
        """`since` in nanoseconds, or in seconds as older clients have it."""
        pair, symbol = self._pair(given)
        since = _whole(given, "since", 0)
        since_ms = since // NANOSECONDS if since > 10**14 else since * SECOND_MS
        limit = min(_whole(given, "count", TRADES_MOST), TRADES_MOST)
        found = self._market.trades(symbol, Range(since_ms if since else None, None, limit), None)
        told = [[fixed(each.price), fixed(each.quantity), each.at_ms / SECOND_MS, "s" if each.buyer_made else "b", "l", "", each.id] for each in found]
        last = found[-1].at_ms if found else self._exchange.now_ms()
        return {pair: told, "last": str(last * NANOSECONDS)}

    def _tickers(self, given: Parameters) -> Any:
        if "pair" not in given:
            return {pair: self._ticker(symbol) for pair, symbol in self._pairs.items() if self._market.listed(symbol)}
        asked = [self._pair({"pair": name}) for name in given["pair"].split(",")]
        return {pair: self._ticker(symbol) for pair, symbol in asked}

    def _ticker(self, symbol: str) -> Any:
        """Of each pair the first is today's, the second that of 24 hours; here both are."""
        day = self._market.day(symbol)
        (bid, bids), (ask, asks) = day["bid"], day["ask"]
        return {
            "a": [fixed(ask), str(int(asks)), fixed(asks)],
            "b": [fixed(bid), str(int(bids)), fixed(bids)],
            "c": [fixed(day["last"]), fixed(0.0)],
            "v": [fixed(day["volume"])] * 2,
            "p": [fixed(day["average"])] * 2,
            "t": [day["count"]] * 2,
            "l": [fixed(day["low"])] * 2,
            "h": [fixed(day["high"])] * 2,
            "o": fixed(day["open"]),
        }

    def _depth(self, given: Parameters) -> Any:
        pair, symbol = self._pair(given)
        limit, now = min(_whole(given, "count", 100), LEVELS_MOST), self._exchange.now_ms() // SECOND_MS
        levels = self._market.levels(symbol)
        return {pair: {side: [[fixed(price), fixed(size), now] for price, size in list(levels[side].items())[:limit]] for side in ("asks", "bids")}}


def _candle(row: list[Any]) -> list[Any]:
    """[seconds, open, high, low, close, average price, volume, trades] of a kline."""
    volume, worth = float(row[5]), float(row[7])
    return [row[0] // SECOND_MS, *row[1:5], fixed(worth / volume if volume else 0.0), row[5], row[8]]


def _alias(asset: str) -> str:
    return ALIASES.get(asset, asset)


def _decimals(step: Any) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))


def _whole(given: Parameters, name: str, usual: int) -> int:
    text = given.get(name, str(usual))
    if not text.isdigit():
        raise _Refused(f"EGeneral:Invalid arguments:{name}")
    return int(text)
