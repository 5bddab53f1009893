"""The market in the shapes of Coinbase's Advanced Trade: products, candles, trades, book, time.

Candles come newest first, at most 350 of them, and a question that spans more is refused, as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.market import INTERVALS_MS, Market, Range
from desk.practice_exchange.exchange import Exchange

GRANULARITIES = {
    "ONE_MINUTE": "1m",
    "FIVE_MINUTE": "5m",
    "FIFTEEN_MINUTE": "15m",
    "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h",
    "TWO_HOUR": "2h",
    "FOUR_HOUR": "4h",
    "SIX_HOUR": "6h",
    "ONE_DAY": "1d",
}
CANDLES_MOST, TRADES_MOST, LEVELS_MOST = 350, 1000, 500
SECOND_MS = 1000
LARGEST = "1000000000"
PRODUCTS = "/api/v3/brokerage/market/products"

Parameters = Mapping[str, str]


class _Refused(Exception):
    """A status and the word for it, then what is the matter."""

    def __init__(self, status: int, word: str, message: str) -> None:
        super().__init__(message)
        self.answer = (status, {"error": word, "error_details": message, "message": message})


class Coinbase:
    """Coinbase's public REST on a practice market."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        self._exchange = exchange
        self._market = market
        self._products = {f"{listing.base}-{listing.quote}": symbol for symbol, listing in sorted(exchange.tape.listings.items())}
        self._routes: dict[str, Callable[[Parameters], Any]] = {
            "/v2/time": lambda _: {"data": {"iso": self._iso(exchange.now_ms()), "epoch": exchange.now_ms() // SECOND_MS}},
            "/v2/currencies": lambda _: {"data": []},
            "/v2/currencies/crypto": self._currencies,
            "/v2/exchange-rates": lambda _: {"data": {"currency": "USD", "rates": {}}},
            "/api/v3/brokerage/time": self._time,
            "/api/v3/brokerage/market/product_book": self._book,
            PRODUCTS: self._listed,
        }
        self._of_product: dict[str, Callable[[str, Parameters], Any]] = {"": self._product, "candles": self._candles, "ticker": self._trades}

    def answer(self, path: str, given: Parameters) -> tuple[int, Any]:
        """Status and body."""
        try:
            if path in self._routes:
                return 200, self._routes[path](given)
            product, _, what = path.removeprefix(PRODUCTS + "/").partition("/")
            if not path.startswith(PRODUCTS + "/") or what not in self._of_product:
                raise _Refused(404, "NOT_FOUND", "not found")
            return 200, self._of_product[what](self._symbol(product), given)
        except _Refused as refusal:
            return refusal.answer

    def _iso(self, instant_ms: int) -> str:
        return datetime.fromtimestamp(instant_ms / SECOND_MS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _symbol(self, product: str) -> str:
        if product not in self._products or not self._market.listed(self._products[product]):
            raise _Refused(404, "NOT_FOUND", f"valid product_id is required, {product} is none")
        return self._products[product]

    def _time(self, given: Parameters) -> Any:
        now = self._exchange.now_ms()
        return {"iso": self._iso(now), "epochSeconds": str(now // SECOND_MS), "epochMillis": str(now)}

    def _currencies(self, given: Parameters) -> Any:
        names = sorted({name for listing in self._exchange.tape.listings.values() for name in (listing.base, listing.quote)})
        rows = [{"asset_id": f"asset-{name.lower()}", "code": name, "name": name, "color": "#000000", "exponent": 8, "type": "crypto"} for name in names]
        return {"data": rows}

    def _listed(self, given: Parameters) -> Any:
        """Spot only: no futures are listed."""
        spot = given.get("product_type", "SPOT") in ("SPOT", "UNKNOWN_PRODUCT_TYPE")
        symbols = [symbol for symbol in self._products.values() if spot and self._market.listed(symbol)]
        return {"products": [self._product(symbol, given) for symbol in symbols], "num_products": len(symbols)}

    def _product(self, symbol: str, given: Parameters) -> Any:
        listing, day, halted = self._exchange.listing(symbol), self._market.day(symbol), symbol in self._exchange.halted
        change = 100 * (day["last"] - day["open"]) / day["open"]
        return {
            "product_id": f"{listing.base}-{listing.quote}",
            "price": fixed(day["last"]),
            "price_percentage_change_24h": f"{change:.8f}",
            "volume_24h": fixed(day["volume"]),
            "base_increment": str(listing.lot),
            "quote_increment": str(listing.tick),
            "price_increment": str(listing.tick),
            "quote_min_size": str(listing.min_notional),
            "quote_max_size": LARGEST,
            "base_min_size": str(listing.lot),
            "base_max_size": LARGEST,
            "base_name": listing.base,
            "quote_name": listing.quote,
            "watched": False,
            "is_disabled": False,
            "new": False,
            "status": "online",
            "cancel_only": halted,
            "limit_only": False,
            "post_only": False,
            "trading_disabled": halted,
            "auction_mode": False,
            "product_type": "SPOT",
            "quote_currency_id": listing.quote,
            "base_currency_id": listing.base,
            "alias": "",
            "alias_to": [],
            "base_display_symbol": listing.base,
            "quote_display_symbol": listing.quote,
            "approximate_quote_24h_volume": fixed(day["worth"]),
        }

    def _candles(self, symbol: str, given: Parameters) -> Any:
        interval = GRANULARITIES.get(given.get("granularity", ""), "")
        if not self._market.serves(interval):
            raise _Refused(400, "INVALID_ARGUMENT", "unsupported granularity")
        start, end = (_whole(given, name) * SECOND_MS for name in ("start", "end"))
        if (end - start) // INTERVALS_MS[interval] > CANDLES_MOST:
            raise _Refused(400, "INVALID_ARGUMENT", f"number of candles requested should be less than {CANDLES_MOST}")
        rows = orjson.loads(self._market.klines(symbol, interval, Range(start, end, CANDLES_MOST)))
        names = ("open", "high", "low", "close", "volume")
        return {"candles": [{"start": str(row[0] // SECOND_MS), **dict(zip(names, row[1:6], strict=True))} for row in reversed(rows)]}

    def _trades(self, symbol: str, given: Parameters) -> Any:
        """The newest trades, newest first, and the best prices."""
        since, until = (_whole(given, name) * SECOND_MS if name in given else None for name in ("start", "end"))
        limit = min(_whole(given, "limit"), TRADES_MOST) if "limit" in given else 100
        found = self._market.trades(symbol, Range(since, until, limit), None)
        listing, day = self._exchange.listing(symbol), self._market.day(symbol)
        rows = [
            {
                "trade_id": str(each.id),
                "product_id": f"{listing.base}-{listing.quote}",
                "price": fixed(each.price),
                "size": fixed(each.quantity),
                "time": self._iso(each.at_ms),
                # The maker's side, as Coinbase has it.
                "side": "BUY" if each.buyer_made else "SELL",
                "exchange": "CBE",
            }
            for each in reversed(found)
        ]
        return {"trades": rows, "best_bid": fixed(day["bid"][0]), "best_ask": fixed(day["ask"][0])}

    def _book(self, given: Parameters) -> Any:
        product = given.get("product_id", "")
        levels = self._market.levels(self._symbol(product))
        limit = min(_whole(given, "limit"), LEVELS_MOST) if "limit" in given else LEVELS_MOST
        sides = {side: [{"price": fixed(price), "size": fixed(size)} for price, size in list(levels[side].items())[:limit]] for side in ("bids", "asks")}
        return {"pricebook": {"product_id": product, **sides, "time": self._iso(self._exchange.now_ms())}}


def _whole(given: Parameters, name: str) -> int:
    text = given.get(name, "")
    if not text.isdigit():
        raise _Refused(400, "INVALID_ARGUMENT", f"{name} must be a whole number")
    return int(text)
