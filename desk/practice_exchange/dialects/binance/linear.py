"""Binance USD-M's REST: which path answers what. The market's paths answer from the tape that spot is served from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from desk.practice_exchange.dialects.binance.errors import WireError, missing
from desk.practice_exchange.dialects.binance.filters import DECIMALS, fixed
from desk.practice_exchange.dialects.binance.linear_filters import linear_filters_of
from desk.practice_exchange.dialects.binance.linear_keys import ListenKeys
from desk.practice_exchange.dialects.binance.linear_trading import LinearTrading
from desk.practice_exchange.dialects.binance.rest import Rest
from desk.practice_exchange.dialects.binance.routes import Handler, Parameters, Route, integer
from desk.practice_exchange.funding import INTERVAL_MS, LARGEST_RATE, next_settlement
from desk.practice_exchange.margin import BRACKETS, CLEARANCE_RATE, DEFAULT_LEVERAGE
from desk.practice_exchange.perpetual import Perpetuals
from desk.practice_exchange.perpetual_orders import ContractKind, ContractLife, WatchKind

FOREVER_MS = 4_133_404_800_000  # what Binance calls the delivery date of a contract that is never delivered
HOUR_MS = 3_600_000
FUNDING_LIMIT, FUNDING_MOST = 100, 1000
KLINE_WEIGHTS = ((99, 1), (499, 2), (1000, 5))
DEPTH_WEIGHTS = ((50, 2), (100, 5), (500, 10))

Routes = dict[tuple[str, str], Route]


class Linear:
    """The routes of the contract side; `routes` is keyed by (method, path)."""

    def __init__(self, perpetuals: Perpetuals, spot: Rest, keys: ListenKeys, weight_limit: int) -> None:
        self._perpetuals = perpetuals
        self._account = perpetuals.account
        self._spot = spot
        self._keys = keys
        self._weight_limit = weight_limit
        self._symbols = {listing.id: symbol for symbol, listing in self._account.listings.items()}
        self.routes: Routes = {**self._public(), **self._keyed(), **self._private()}

    def _public(self) -> Routes:
        spot = self._spot
        return {
            ("GET", "/fapi/v1/ping"): _route(lambda _: {}, 1),
            ("GET", "/fapi/v1/time"): _route(spot.time, 1),
            ("GET", "/fapi/v1/exchangeInfo"): _route(self.exchange_info, 1),
            ("GET", "/fapi/v1/klines"): Route(spot.klines, lambda given: _by_limit(given, KLINE_WEIGHTS, 500, 10)),
            ("GET", "/fapi/v1/aggTrades"): _route(spot.aggregate_trades, 20),
            ("GET", "/fapi/v1/trades"): _route(spot.trades, 5),
            ("GET", "/fapi/v1/historicalTrades"): _route(spot.trades, 20),
            ("GET", "/fapi/v1/depth"): Route(self.depth, lambda given: _by_limit(given, DEPTH_WEIGHTS, 500, 20)),
            ("GET", "/fapi/v1/ticker/24hr"): _route(spot.ticker_day, 1, every=40),
            ("GET", "/fapi/v1/ticker/price"): _route(self._timed(spot.ticker_price), 1, every=2),
            ("GET", "/fapi/v2/ticker/price"): _route(self._timed(spot.ticker_price), 1, every=2),
            ("GET", "/fapi/v1/ticker/bookTicker"): _route(self._timed(spot.ticker_book), 2, every=5),
            ("GET", "/fapi/v1/premiumIndex"): _route(self.premium, 1, every=10),
            ("GET", "/fapi/v1/fundingRate"): _route(self.funding_rates, 1),
            ("GET", "/fapi/v1/fundingInfo"): _route(self.funding_info, 1),
        }

    def _keyed(self) -> Routes:
        path = "/fapi/v1/listenKey"
        return {
            ("POST", path): _route(lambda _: {"listenKey": self._keys.issue()}, 1),
            ("PUT", path): _route(self.extend_key, 1),
            ("DELETE", path): _route(self.close_key, 1),
        }

    def _private(self) -> Routes:
        trading = LinearTrading(self._perpetuals, self._symbol)
        signed = {
            ("POST", "/fapi/v1/order"): (trading.place, 1, 1),
            ("POST", "/fapi/v1/order/test"): (trading.try_place, 1, 1),
            ("PUT", "/fapi/v1/order"): (trading.amend, 1, 1),
            ("GET", "/fapi/v1/order"): (trading.order, 1, 1),
            ("DELETE", "/fapi/v1/order"): (trading.cancel, 1, 1),
            ("DELETE", "/fapi/v1/allOpenOrders"): (trading.cancel_all, 1, 1),
            ("GET", "/fapi/v1/openOrder"): (trading.open_order, 1, 1),
            ("GET", "/fapi/v1/openOrders"): (trading.open_orders, 1, 40),
            ("GET", "/fapi/v1/allOrders"): (trading.all_orders, 5, 5),
            ("GET", "/fapi/v1/userTrades"): (trading.fills, 5, 5),
            ("GET", "/fapi/v1/income"): (trading.income, 30, 30),
            ("POST", "/fapi/v1/algoOrder"): (trading.watch, 1, 1),
            ("GET", "/fapi/v1/algoOrder"): (trading.watched, 1, 1),
            ("DELETE", "/fapi/v1/algoOrder"): (trading.cancel_watch, 1, 1),
            ("GET", "/fapi/v1/openAlgoOrders"): (trading.waiting, 1, 40),
            ("GET", "/fapi/v1/allAlgoOrders"): (trading.all_watches, 5, 5),
            ("DELETE", "/fapi/v1/algoOpenOrders"): (trading.cancel_watches, 1, 1),
            ("POST", "/fapi/v1/leverage"): (trading.set_leverage, 1, 1),
            ("POST", "/fapi/v1/marginType"): (trading.set_margin_type, 1, 1),
            ("GET", "/fapi/v1/leverageBracket"): (trading.brackets, 1, 1),
            ("GET", "/fapi/v1/symbolConfig"): (trading.symbol_config, 5, 5),
            ("GET", "/fapi/v1/commissionRate"): (self.commission, 20, 20),
            ("GET", "/fapi/v1/positionSide/dual"): (lambda _: {"dualSidePosition": False}, 30, 30),
            ("POST", "/fapi/v1/positionSide/dual"): (trading.set_position_mode, 1, 1),
            ("GET", "/fapi/v1/multiAssetsMargin"): (lambda _: {"multiAssetsMargin": False}, 30, 30),
            ("GET", "/fapi/v2/positionRisk"): (trading.positions_with_leverage, 5, 5),
            ("GET", "/fapi/v3/positionRisk"): (trading.positions, 5, 5),
            ("GET", "/fapi/v2/account"): (trading.account, 5, 5),
            ("GET", "/fapi/v3/account"): (trading.account, 5, 5),
            ("GET", "/fapi/v2/balance"): (trading.balance, 5, 5),
            ("GET", "/fapi/v3/balance"): (trading.balance, 5, 5),
        }
        return {key: _route(handler, one, every=every, signed=True) for key, (handler, one, every) in signed.items()}

    def exchange_info(self, given: Parameters) -> Any:
        """What is listed, and how much may be asked."""
        rate_limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._weight_limit}]
        assets = [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in self._account.assets]
        head = {"timezone": "UTC", "serverTime": self._perpetuals.clock.milliseconds(), "futuresType": "U_MARGINED"}
        rows = [self._symbol_payload(symbol) for symbol in self._chosen(given)]
        return {**head, "rateLimits": rate_limits, "exchangeFilters": [], "assets": assets, "symbols": rows}

    def depth(self, given: Parameters) -> Any:
        """The order book, with the instants Binance adds to it here."""
        now = self._perpetuals.settled_ms
        self._symbol(given)
        return {**self._spot.depth(given), "E": now, "T": now}

    def _timed(self, handler: Handler) -> Handler:
        """A spot answer, or each of its rows, with the time that contracts add."""

        def answer(given: Parameters) -> Any:
            found, time = handler(given), {"time": self._perpetuals.settled_ms}
            return [{**row, **time} for row in found] if isinstance(found, list) else {**found, **time}

        return answer

    def commission(self, given: Parameters) -> Any:
        """What a fill costs, the same for makers and takers."""
        rate = fixed(self._perpetuals.fee_rate)
        return {"symbol": self._account.listing(self._symbol(given)).id, "makerCommissionRate": rate, "takerCommissionRate": rate}

    def premium(self, given: Parameters) -> Any:
        """Mark price and the rate of the next settlement."""
        rows = [self._premium_payload(symbol) for symbol in self._chosen(given)]
        return rows[0] if "symbol" in given else rows

    def funding_rates(self, given: Parameters) -> Any:
        """Settled rates in a range of time, at most so many: the first of them when a beginning was named, else the newest."""
        limit = min(integer(given, "limit") or FUNDING_LIMIT, FUNDING_MOST)
        now, since = self._perpetuals.settled_ms, integer(given, "startTime")
        until = min(integer(given, "endTime") or now, now)
        first = max(since if since is not None else until - limit * INTERVAL_MS, self._perpetuals.starts_at_ms)
        rows = []
        for symbol in self._chosen(given):
            instants = self._perpetuals.funding.instants(first - 1, until)
            rows += [self._rate_payload(symbol, instant) for instant in (instants[:limit] if since is not None else instants[-limit:])]
        return rows

    def funding_info(self, given: Parameters) -> Any:
        """How often funding is settled, and within which bounds."""
        bounds = {"adjustedFundingRateCap": fixed(LARGEST_RATE), "adjustedFundingRateFloor": fixed(-LARGEST_RATE)}
        hours = {"fundingIntervalHours": INTERVAL_MS // HOUR_MS, "disclaimer": False}
        return [{"symbol": self._account.listing(symbol).id, **bounds, **hours} for symbol in self._chosen(given)]

    def extend_key(self, given: Parameters) -> Any:
        """Let a listen key live another hour."""
        key = self._keys.extend()
        if key is None:
            raise WireError(-1125, "This listenKey does not exist.")
        return {"listenKey": key}

    def close_key(self, given: Parameters) -> Any:
        """End the listen key, and the streams that hang on it."""
        self._keys.close()
        return {}

    def _symbol(self, given: Parameters) -> str:
        market_id = given.get("symbol", "")
        if not market_id:
            raise missing("symbol")
        if market_id not in self._symbols:
            raise WireError(-1121, "Invalid symbol.")
        return self._symbols[market_id]

    def _chosen(self, given: Parameters) -> list[str]:
        return [self._symbol(given)] if "symbol" in given else sorted(self._symbols.values())

    def _symbol_payload(self, symbol: str) -> dict[str, Any]:
        listing = self._account.listing(symbol)
        names = {"symbol": listing.id, "pair": listing.id, "contractType": "PERPETUAL", "deliveryDate": FOREVER_MS}
        born = {"onboardDate": self._perpetuals.starts_at_ms, "status": "TRADING"}
        rates = {"maintMarginPercent": fixed(BRACKETS[0].rate * 100), "requiredMarginPercent": fixed(100 / DEFAULT_LEVERAGE)}
        assets = {"baseAsset": listing.base, "quoteAsset": listing.quote, "marginAsset": listing.quote}
        digits = {
            "pricePrecision": _digits(listing.tick),
            "quantityPrecision": _digits(listing.lot),
            "baseAssetPrecision": DECIMALS,
            "quotePrecision": DECIMALS,
        }
        kind = {"underlyingType": "COIN", "underlyingSubType": [], "settlePlan": 0, "triggerProtect": "0.0500", "marketTakeBound": "0.30"}
        return {
            **names,
            **born,
            **rates,
            **assets,
            **digits,
            **kind,
            "liquidationFee": str(CLEARANCE_RATE),
            "filters": linear_filters_of(listing),
            "orderTypes": [*ContractKind, *WatchKind],
            "timeInForce": [*ContractLife],
        }

    def _premium_payload(self, symbol: str) -> dict[str, Any]:
        now = self._perpetuals.settled_ms
        mark, following = fixed(self._account.mark(symbol, now)), next_settlement(now)
        return {
            "symbol": self._account.listing(symbol).id,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": fixed(self._perpetuals.funding.rate(symbol, following)),
            "interestRate": fixed(0.0),
            "nextFundingTime": following,
            "time": now,
        }

    def _rate_payload(self, symbol: str, instant: int) -> dict[str, Any]:
        names = {"symbol": self._account.listing(symbol).id, "fundingTime": instant}
        return {**names, "fundingRate": fixed(self._perpetuals.funding.rate(symbol, instant)), "markPrice": fixed(self._account.mark(symbol, instant))}


def _route(handler: Any, one: int, *, every: int | None = None, signed: bool = False) -> Route:
    """A path with a weight for one symbol and another for every symbol."""
    return Route(handler, lambda given: one if "symbol" in given or every is None else every, signed=signed)


def _by_limit(given: Parameters, weights: tuple[tuple[int, int], ...], usual: int, most: int) -> int:
    limit = integer(given, "limit") or usual
    return next((weight for bound, weight in weights if limit <= bound), most)


def _digits(step: Decimal) -> int:
    """Decimals of a power of ten."""
    return max(-step.adjusted(), 0)
