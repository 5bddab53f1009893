"""Binance spot's REST: which path answers what, at what weight, signed or not.

The handlers take the parameters as text and return what is to be encoded; the websocket API calls the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from desk.practice_exchange.dialects.binance import market as shapes
from desk.practice_exchange.dialects.binance import orders
from desk.practice_exchange.dialects.binance.errors import WireError, filter_failure, malformed, missing, translated
from desk.practice_exchange.dialects.binance.filters import MOST_OPEN_ORDERS, client_id, fixed, ticket
from desk.practice_exchange.dialects.binance.market import Market, Print, Range
from desk.practice_exchange.dialects.binance.weights import depth_weight
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import Order
from desk.practice_exchange.refusals import Refusal

Parameters = Mapping[str, str]
Handler = Callable[[Parameters], Any]

LIMIT_DEFAULT, LIMIT_MOST = 500, 1000
DEPTH_DEFAULT, DEPTH_MOST = 100, 5000
INTEGER = r"^[0-9]{1,20}$"


class Json(str):
    """Text that is JSON already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Route:
    """What a path does. `weight` may depend on the parameters."""

    handler: Handler
    weight: Callable[[Parameters], int]
    signed: bool = False


class Rest:
    """The routes of one exchange; `routes` is keyed by (method, path)."""

    def __init__(self, exchange: Exchange, market: Market, weight_limit: int) -> None:
        self._exchange = exchange
        self._market = market
        self._weight_limit = weight_limit
        self._symbols = {listing.id: symbol for symbol, listing in exchange.tape.listings.items()}
        self.routes: dict[tuple[str, str], Route] = {**self._public(), **self._private(), **self._wallet()}

    def _public(self) -> dict[tuple[str, str], Route]:
        one, two = _always(1), _always(2)
        return {
            ("GET", "/api/v3/ping"): Route(lambda _: {}, one),
            ("GET", "/api/v3/time"): Route(self.time, one),
            ("GET", "/api/v3/exchangeInfo"): Route(self.exchange_info, _always(20)),
            ("GET", "/api/v3/klines"): Route(self.klines, two),
            ("GET", "/api/v3/uiKlines"): Route(self.klines, two),
            ("GET", "/api/v3/aggTrades"): Route(self.aggregate_trades, _always(4)),
            ("GET", "/api/v3/trades"): Route(self.trades, _always(25)),
            ("GET", "/api/v3/depth"): Route(self.depth, lambda given: depth_weight(_integer(given, "limit") or DEPTH_DEFAULT)),
            ("GET", "/api/v3/avgPrice"): Route(self.average_price, two),
            ("GET", "/api/v3/ticker/24hr"): Route(self.ticker_day, _one_or_all(2, 80)),
            ("GET", "/api/v3/ticker/price"): Route(self.ticker_price, _one_or_all(2, 4)),
            ("GET", "/api/v3/ticker/bookTicker"): Route(self.ticker_book, _one_or_all(2, 4)),
        }

    def _private(self) -> dict[tuple[str, str], Route]:
        one = _always(1)
        return {
            ("POST", "/api/v3/order"): Route(self.place, one, signed=True),
            ("POST", "/api/v3/order/test"): Route(self.try_place, one, signed=True),
            ("GET", "/api/v3/order"): Route(self.order, _always(4), signed=True),
            ("DELETE", "/api/v3/order"): Route(self.cancel, one, signed=True),
            ("GET", "/api/v3/openOrders"): Route(self.open_orders, _one_or_all(6, 80), signed=True),
            ("DELETE", "/api/v3/openOrders"): Route(self.cancel_all, one, signed=True),
            ("GET", "/api/v3/allOrders"): Route(self.all_orders, _always(20), signed=True),
            ("GET", "/api/v3/myTrades"): Route(self.my_trades, lambda given: 5 if "orderId" in given else 20, signed=True),
            ("GET", "/api/v3/account"): Route(self.account, _always(20), signed=True),
        }

    def _wallet(self) -> dict[tuple[str, str], Route]:
        free = _always(0)  # the wallet's paths have a counter of their own
        return {
            ("GET", "/sapi/v1/capital/config/getall"): Route(self.coins, free, signed=True),
            ("GET", "/sapi/v1/margin/allPairs"): Route(lambda _: [], free, signed=True),
            ("GET", "/sapi/v1/margin/isolated/allPairs"): Route(lambda _: [], free, signed=True),
            ("GET", "/sapi/v1/account/apiRestrictions"): Route(self.restrictions, free, signed=True),
            ("GET", "/sapi/v1/asset/tradeFee"): Route(self.trade_fees, free, signed=True),
            ("GET", "/sapi/v1/system/status"): Route(lambda _: {"status": 0, "msg": "normal"}, free),
        }

    def time(self, given: Parameters) -> Any:
        """The market's clock."""
        return {"serverTime": self._exchange.now_ms()}

    def exchange_info(self, given: Parameters) -> Any:
        """What is listed, and how much may be asked."""
        only = [self._symbol(given)] if "symbol" in given else self._listed()
        rate_limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._weight_limit}]
        payloads = [self._market.symbol_payload(symbol) for symbol in only]
        return {"timezone": "UTC", "serverTime": self._exchange.now_ms(), "rateLimits": rate_limits, "exchangeFilters": [], "symbols": payloads}

    def klines(self, given: Parameters) -> Any:
        """Candles."""
        symbol, interval = self._symbol(given), given.get("interval", "")
        if not interval:
            raise missing("interval")
        if not self._market.serves(interval):
            raise WireError(-1120, "Invalid interval.")
        return Json(self._market.klines(symbol, interval, _range(given)))

    def aggregate_trades(self, given: Parameters) -> Any:
        """The market's trades."""
        found = self._market.trades(self._symbol(given), _range(given), _integer(given, "fromId"))
        return [
            {"a": each.id, "p": fixed(each.price), "q": fixed(each.quantity), "f": each.id, "l": each.id, "T": each.at_ms, **_flags(each)} for each in found
        ]

    def trades(self, given: Parameters) -> Any:
        """The market's newest trades, one by one."""
        found = self._market.trades(self._symbol(given), Range(None, None, _range(given).limit), None)
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
        limit = min(_integer(given, "limit") or DEPTH_DEFAULT, DEPTH_MOST)
        levels = self._market.levels(self._symbol(given))
        return {"lastUpdateId": self._market.update_id(), **{side: shapes.level_rows(rows, limit) for side, rows in levels.items()}}

    def average_price(self, given: Parameters) -> Any:
        """The price by which market orders are judged."""
        price = self._market.last_price(self._symbol(given))
        return {"mins": 5, "price": fixed(price), "closeTime": self._exchange.now_ms()}

    def ticker_day(self, given: Parameters) -> Any:
        """The last 24 hours of one symbol or of all."""
        return self._for_symbols(given, self._day_payload)

    def ticker_price(self, given: Parameters) -> Any:
        """The last price of one symbol or of all."""
        return self._for_symbols(given, lambda symbol: {"symbol": self._listing(symbol).id, "price": fixed(self._market.last_price(symbol))})

    def ticker_book(self, given: Parameters) -> Any:
        """The best prices of one symbol or of all."""
        return self._for_symbols(given, self._book_payload)

    def place(self, given: Parameters) -> Any:
        """A new order."""
        listing, order = self._placed(given, dry=False)
        answers = {
            "ACK": lambda: orders.acknowledgement(order, listing),
            "RESULT": lambda: orders.result(order, listing),
            "FULL": lambda: orders.full(order, listing, self._exchange.book.executions_of(order)),
        }
        return answers[given.get("newOrderRespType", "FULL")]()

    def try_place(self, given: Parameters) -> Any:
        """Whether an order would be accepted; nothing is placed."""
        self._placed(given, dry=True)
        return {}

    def order(self, given: Parameters) -> Any:
        """One order, by either id."""
        found = self._find(given, given.get("origClientOrderId"))
        if found is None:
            raise WireError(-2013, "Order does not exist.")
        return orders.order_payload(found, self._listing(found.symbol))

    def cancel(self, given: Parameters) -> Any:
        """End an open order."""
        return self._cancelled(self._find(given, given.get("origClientOrderId")), client_id(given, "newClientOrderId"))

    def cancel_all(self, given: Parameters) -> Any:
        """End every open order of a symbol."""
        found = self._exchange.book.open_orders(self._symbol(given))
        if not found:
            raise WireError(-2011, "Unknown order sent.")
        return [self._cancelled(order, client_id({}, "newClientOrderId")) for order in found]

    def open_orders(self, given: Parameters) -> Any:
        """Orders that can still fill, of one symbol or of all."""
        symbol = self._symbol(given) if "symbol" in given else None
        return [orders.order_payload(order, self._listing(order.symbol)) for order in self._exchange.book.open_orders(symbol)]

    def all_orders(self, given: Parameters) -> Any:
        """Orders of a symbol, whatever became of them."""
        asked, first = _range(given), _integer(given, "orderId")
        found = [order for order in self._exchange.book.orders(self._symbol(given)) if asked.holds(order.accepted_ms) and order.id >= (first or 0)]
        chosen = found[: asked.limit] if first is not None or asked.since_ms is not None else found[-asked.limit :]
        return [orders.order_payload(order, self._listing(order.symbol)) for order in chosen]

    def my_trades(self, given: Parameters) -> Any:
        """Our executions of a symbol."""
        symbol, asked = self._symbol(given), _range(given)
        order_id, first = _integer(given, "orderId"), _integer(given, "fromId")
        ours = [each for each in self._exchange.book.executions if each.symbol == symbol and order_id in (None, each.order_id)]
        found = [each for each in ours if each.id >= (first or 0) and asked.holds(each.at_ms)]
        chosen = found[: asked.limit] if first is not None or asked.since_ms is not None else found[-asked.limit :]
        return [orders.trade_payload(each, self._listing(symbol)) for each in chosen]

    def account(self, given: Parameters) -> Any:
        """Balances and rights."""
        return orders.account_payload(self._exchange.ledger.accounts, self._exchange.costs.fee_rate, self._exchange.now_ms())

    def coins(self, given: Parameters) -> Any:
        """Every asset; nothing can be moved in or out."""
        assets = sorted({asset for listing in self._exchange.tape.listings.values() for asset in (listing.base, listing.quote)})
        return [self._coin(asset) for asset in assets]

    def restrictions(self, given: Parameters) -> Any:
        """The key may read and trade, and no more."""
        allowed = {"enableReading": True, "enableSpotAndMarginTrading": True}
        refused = ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer", "enableMargin", "enableFutures", "enableVanillaOptions")
        return {"ipRestrict": True, "createTime": self._exchange.tape.history_until_ms, **allowed, **dict.fromkeys(refused, False)}

    def trade_fees(self, given: Parameters) -> Any:
        """The commission of one symbol or of all."""
        rate = fixed(self._exchange.costs.fee_rate)
        only = [self._symbol(given)] if "symbol" in given else self._listed()
        return [{"symbol": self._listing(symbol).id, "makerCommission": rate, "takerCommission": rate} for symbol in only]

    def _listed(self) -> list[str]:
        return [symbol for symbol in sorted(self._symbols.values()) if self._market.listed(symbol)]

    def _symbol(self, given: Parameters, name: str | None = None) -> str:
        market_id = name or given.get("symbol", "")
        if not market_id:
            raise missing("symbol")
        if market_id not in self._symbols or not self._market.listed(self._symbols[market_id]):
            raise WireError(-1121, "Invalid symbol.")
        return self._symbols[market_id]

    def _listing(self, symbol: str) -> Listing:
        return self._exchange.listing(symbol)

    def _for_symbols(self, given: Parameters, payload: Callable[[str], Any]) -> Any:
        if "symbol" in given:
            return payload(self._symbol(given))
        names = given.get("symbols", "").strip("[]").replace('"', "")
        chosen = [self._symbol(given, name) for name in names.split(",")] if names else self._listed()
        return [payload(symbol) for symbol in chosen]

    def _day_payload(self, symbol: str) -> Any:
        day = self._market.day(symbol)
        change = day["last"] - day["open"]
        return {
            "symbol": self._listing(symbol).id,
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
        return {"symbol": self._listing(symbol).id, "bidPrice": fixed(bid), "bidQty": fixed(bids), "askPrice": fixed(ask), "askQty": fixed(asks)}

    def _placed(self, given: Parameters, *, dry: bool) -> tuple[Listing, Order]:
        symbol = self._symbol(given)
        if given.get("newOrderRespType", "FULL") not in ("ACK", "RESULT", "FULL"):
            raise malformed("newOrderRespType", "^(ACK|RESULT|FULL)$")
        quote = self._exchange.quote(symbol)
        listing = self._listing(symbol)
        wanted = ticket(given, listing, quote.open if quote else None)
        if len(self._exchange.book.open_orders(symbol)) >= MOST_OPEN_ORDERS:
            raise filter_failure("MAX_NUM_ORDERS")
        try:
            return listing, self._exchange.place(wanted, dry=dry)
        except Refusal as refusal:
            raise translated(refusal) from refusal

    def _find(self, given: Parameters, client: str | None) -> Order | None:
        symbol, order_id = self._symbol(given), _integer(given, "orderId")
        if order_id is None and not client:
            raise WireError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        return self._exchange.book.find(symbol, order_id, client or None)

    def _cancelled(self, order: Order | None, cancel_id: str) -> Any:
        try:
            ended = self._exchange.cancel(order)
        except Refusal as refusal:
            raise translated(refusal) from refusal
        return orders.cancellation(ended, self._listing(ended.symbol), cancel_id)

    def _coin(self, asset: str) -> Any:
        account = self._exchange.ledger.of(asset)
        still = dict.fromkeys(("freeze", "withdrawing", "ipoing", "ipoable", "storage"), "0")
        shut = {"depositAllEnable": False, "withdrawAllEnable": False, "isLegalMoney": False, "trading": True}
        return {"coin": asset, "name": asset, "free": fixed(account.free), "locked": fixed(account.locked), **still, **shut, "networkList": []}


def _always(weight: int) -> Callable[[Parameters], int]:
    return lambda given: weight


def _one_or_all(one: int, every: int) -> Callable[[Parameters], int]:
    return lambda given: one if "symbol" in given else every


def _flags(trade: Print) -> dict[str, bool]:
    return {"m": trade.buyer_made, "M": True}


def _integer(given: Parameters, name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise malformed(name, INTEGER)
    return int(text)


def _range(given: Parameters) -> Range:
    limit = _integer(given, "limit")
    return Range(_integer(given, "startTime"), _integer(given, "endTime"), min(LIMIT_DEFAULT if limit is None else limit, LIMIT_MOST))
