"""Binance spot's REST: which path answers what, at what weight, signed or not. Here: the public routes; trading and wallet have modules of their own.

The handlers take the parameters as text and return what is to be encoded; the websocket API calls the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desk.practice_exchange.dialects.binance import market as shapes
from desk.practice_exchange.dialects.binance.errors import WireError, missing
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.market import Market, Print, Range
from desk.practice_exchange.dialects.binance.routes import Directory, Json, Parameters, Route, always, integer, one_or_all, range_of
from desk.practice_exchange.dialects.binance.trading import Trading
from desk.practice_exchange.dialects.binance.wallet import Wallet
from desk.practice_exchange.dialects.binance.weights import ORDER_WINDOW_S, WeightCounter, depth_weight
from desk.practice_exchange.exchange import Exchange

DEPTH_DEFAULT, DEPTH_MOST = 100, 5000


class Rest:
    """The routes of one exchange; `routes` is keyed by (method, path)."""

    def __init__(self, exchange: Exchange, market: Market, counter: WeightCounter) -> None:
        self._exchange = exchange
        self._market = market
        self._counter = counter
        self._directory = Directory(exchange, market)
        trading, wallet = Trading(exchange, self._directory, counter), Wallet(exchange, self._directory)
        self.routes: dict[tuple[str, str], Route] = {**self._public(), **trading.routes(), **wallet.routes()}

    def _public(self) -> dict[tuple[str, str], Route]:
        one, two = always(1), always(2)
        return {
            ("GET", "/api/v3/ping"): Route(lambda _: {}, one),
            ("GET", "/api/v3/time"): Route(self.time, one),
            ("GET", "/api/v3/exchangeInfo"): Route(self.exchange_info, always(20)),
            ("GET", "/api/v3/klines"): Route(self.klines, two),
            ("GET", "/api/v3/uiKlines"): Route(self.klines, two),
            ("GET", "/api/v3/aggTrades"): Route(self.aggregate_trades, always(4)),
            ("GET", "/api/v3/trades"): Route(self.trades, always(25)),
            ("GET", "/api/v3/historicalTrades"): Route(self.trades, always(25)),
            ("GET", "/api/v3/depth"): Route(self.depth, lambda given: depth_weight(integer(given, "limit") or DEPTH_DEFAULT)),
            ("GET", "/api/v3/avgPrice"): Route(self.average_price, two),
            ("GET", "/api/v3/ticker/24hr"): Route(self.ticker_day, one_or_all(2, 80)),
            ("GET", "/api/v3/ticker/price"): Route(self.ticker_price, one_or_all(2, 4)),
            ("GET", "/api/v3/ticker/bookTicker"): Route(self.ticker_book, one_or_all(2, 4)),
        }

    def time(self, given: Parameters) -> Any:
        """The market's clock."""
        return {"serverTime": self._exchange.now_ms()}

    def exchange_info(self, given: Parameters) -> Any:
        """What is listed, and how much may be asked."""
        only = [self._directory.symbol(given)] if "symbol" in given else self._directory.listed()
        orders = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": ORDER_WINDOW_S, "limit": self._counter.order_limit}
        rate_limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._counter.limit}, orders]
        payloads = [self._market.symbol_payload(symbol) for symbol in only]
        return {"timezone": "UTC", "serverTime": self._exchange.now_ms(), "rateLimits": rate_limits, "exchangeFilters": [], "symbols": payloads}

    def klines(self, given: Parameters) -> Any:
        """Candles."""
        symbol, interval = self._directory.symbol(given), given.get("interval", "")
        if not interval:
            raise missing("interval")
        if not self._market.serves(interval):
            raise WireError(-1120, "Invalid interval.")
        return Json(self._market.klines(symbol, interval, range_of(given)))

    def aggregate_trades(self, given: Parameters) -> Any:
        """The market's trades."""
        found = self._market.trades(self._directory.symbol(given), range_of(given), integer(given, "fromId"))
        return [
            {"a": each.id, "p": fixed(each.price), "q": fixed(each.quantity), "f": each.id, "l": each.id, "T": each.at_ms, **_flags(each)} for each in found
        ]

    def trades(self, given: Parameters) -> Any:
        """The market's trades one by one: the newest, or from an id on."""
        found = self._market.trades(self._directory.symbol(given), Range(None, None, range_of(given).limit), integer(given, "fromId"))
        return [
            {
                "id": each.id,
                "price": fixed(each.price),
                "qty": fixed(each.quantity),
                "quoteQty": fixed(each.price * each.quantity),
                "time": each.at_ms,
                "isBuyerMaker": each.buyer_made,
                "isBestMatch": True,
            }
            for each in found
        ]

    def depth(self, given: Parameters) -> Any:
        """The book."""
        limit = min(integer(given, "limit") or DEPTH_DEFAULT, DEPTH_MOST)
        levels = self._market.levels(self._directory.symbol(given))
        return {"lastUpdateId": self._market.update_id(), **{side: shapes.level_rows(rows, limit) for side, rows in levels.items()}}

    def average_price(self, given: Parameters) -> Any:
        """The price by which market orders are judged."""
        price = self._market.last_price(self._directory.symbol(given))
        return {"mins": 5, "price": fixed(price), "closeTime": self._exchange.now_ms()}

    def ticker_day(self, given: Parameters) -> Any:
        """The last 24 hours of one symbol or of all."""
        return self._for_symbols(given, self._day_payload)

    def ticker_price(self, given: Parameters) -> Any:
        """The last price of one symbol or of all."""
        return self._for_symbols(given, lambda symbol: {"symbol": self._directory.listing(symbol).id, "price": fixed(self._market.last_price(symbol))})

    def ticker_book(self, given: Parameters) -> Any:
        """The best prices of one symbol or of all."""
        return self._for_symbols(given, self._book_payload)

    def _for_symbols(self, given: Parameters, payload: Callable[[str], Any]) -> Any:
        if "symbol" in given:
            return payload(self._directory.symbol(given))
        names = given.get("symbols", "").strip("[]").replace('"', "")
        chosen = [self._directory.symbol(given, name) for name in names.split(",")] if names else self._directory.listed()
        return [payload(symbol) for symbol in chosen]

    def _day_payload(self, symbol: str) -> Any:
        day = self._market.day(symbol)
        change = day["last"] - day["open"]
        return {
            "symbol": self._directory.listing(symbol).id,
            "priceChange": fixed(change),
            "priceChangePercent": f"{100 * change / day['open']:.3f}",
            "weightedAvgPrice": fixed(day["average"]),
            "prevClosePrice": fixed(day["previous"]),
            "lastPrice": fixed(day["last"]),
            "lastQty": fixed(0.0),
            "bidPrice": fixed(day["bid"][0]),
            "bidQty": fixed(day["bid"][1]),
            "askPrice": fixed(day["ask"][0]),
            "askQty": fixed(day["ask"][1]),
            "openPrice": fixed(day["open"]),
            "highPrice": fixed(day["high"]),
            "lowPrice": fixed(day["low"]),
            "volume": fixed(day["volume"]),
            "quoteVolume": fixed(day["worth"]),
            "openTime": day["opened_ms"],
            "closeTime": day["closed_ms"],
            "firstId": day["first_id"],
            "lastId": day["last_id"],
            "count": day["count"],
        }

    def _book_payload(self, symbol: str) -> Any:
        (bid, bids), (ask, asks) = self._market.best(symbol) or (shapes.NOTHING, shapes.NOTHING)
        return {"symbol": self._directory.listing(symbol).id, "bidPrice": fixed(bid), "bidQty": fixed(bids), "askPrice": fixed(ask), "askQty": fixed(asks)}


def _flags(trade: Print) -> dict[str, bool]:
    return {"m": trade.buyer_made, "M": True}
