"""Which recorded payload is of which kind, and how each kind is had from a running exchange.

`shapes.jsonl` holds keys and types of payloads that Binance documents or sent: {"files", "kind", "shape"}, no values.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import ccxt.pro

from desk.execution.ccxt_settings import Dialect, constructor_config
from tests.practice_exchange.conftest import Serving

SHAPES = Path(__file__).with_name("shapes.jsonl")
SYMBOL, CONTRACT = "BTC/USDT", "BTC/USDT:USDT"
ONE = {"symbol": "BTCUSDT"}
PATIENCE_S = 10
ENVELOPES = ("data", "event")

Ask = Callable[[Any], object]

SPOT: dict[str, Ask] = {
    "ping": lambda client: client.public_get_ping(),
    "time": lambda client: client.public_get_time(),
    "exchange_info": lambda client: client.public_get_exchangeinfo(),
    "klines": lambda client: client.public_get_klines({**ONE, "interval": "1h"}),
    "agg_trades": lambda client: client.public_get_aggtrades(ONE),
    "trades": lambda client: client.public_get_trades(ONE),
    "historical_trades": lambda client: client.public_get_historicaltrades(ONE),
    "depth": lambda client: client.public_get_depth(ONE),
    "avg_price": lambda client: client.public_get_avgprice(ONE),
    "ticker_day": lambda client: client.public_get_ticker_24hr(ONE),
    "ticker_price": lambda client: client.public_get_ticker_price(ONE),
    "book_ticker": lambda client: client.public_get_ticker_bookticker(ONE),
    "new_order": lambda client: client.private_post_order({**ONE, "side": "BUY", "type": "MARKET", "quantity": "0.01"}),
    "account": lambda client: client.private_get_account(),
    "my_trades": lambda client: client.private_get_mytrades(ONE),
    "order": lambda client: client.private_get_order({**ONE, "orderId": 1}),
    "all_orders": lambda client: client.private_get_allorders(ONE),
    "open_orders": lambda client: client.private_get_openorders(ONE),
    "cancel_order": lambda client: client.private_delete_order({**ONE, "orderId": 2}),
    "cancel_all": lambda client: client.private_delete_openorders(ONE),
    "trade_fees": lambda client: client.sapi_get_asset_tradefee({}),
    "error": lambda client: _refused(client),
}
LINEAR: dict[str, Ask] = {
    "linear.exchange_info": lambda client: client.fapipublic_get_exchangeinfo(),
    "linear.depth": lambda client: client.fapipublic_get_depth(ONE),
    "linear.klines": lambda client: client.fapipublic_get_klines({**ONE, "interval": "1h"}),
    "linear.agg_trades": lambda client: client.fapipublic_get_aggtrades(ONE),
    "linear.trades": lambda client: client.fapipublic_get_trades(ONE),
    "linear.historical_trades": lambda client: client.fapipublic_get_historicaltrades(ONE),
    "linear.ticker_day": lambda client: client.fapipublic_get_ticker_24hr(ONE),
    "linear.ticker_price": lambda client: client.fapipublic_get_ticker_price(ONE),
    "linear.book_ticker": lambda client: client.fapipublic_get_ticker_bookticker(ONE),
    "linear.premium_index": lambda client: client.fapipublic_get_premiumindex(ONE),
    "linear.funding_rate": lambda client: client.fapipublic_get_fundingrate(ONE),
    "linear.commission_rate": lambda client: client.fapiprivate_get_commissionrate(ONE),
    "linear.all_orders": lambda client: client.fapiprivate_get_allorders(ONE),
    "linear.user_trades": lambda client: client.fapiprivate_get_usertrades(ONE),
    "linear.symbol_config": lambda client: client.fapiprivate_get_symbolconfig(ONE),
    "linear.position_mode": lambda client: client.fapiprivate_get_positionside_dual(),
    "linear.account": lambda client: client.fapiprivatev2_get_account(),
    "linear.balance": lambda client: client.fapiprivatev3_get_balance(),
    "linear.position_risk": lambda client: client.fapiprivatev2_get_positionrisk(ONE),
    "linear.open_algo_orders": lambda client: client.fapiprivate_get_openalgoorders(ONE),
    "linear.order": lambda client: client.fapiprivate_get_order({**ONE, "orderId": 1}),
}
SPOT_STREAMS = ("trade", "aggTrade", "depth@100ms", "kline_1h", "bookTicker", "ticker", "miniTicker")
LINEAR_STREAMS = ("trade", "aggTrade", "depth", "kline_1h", "bookTicker", "markPrice")

Payloads = dict[str, Any]


def opened(payload: Any) -> Any:
    """What is in the envelope of a combined stream or of a subscription."""
    inside = [payload[name] for name in ENVELOPES if isinstance(payload, dict) and name in payload]
    return inside[0] if inside else payload


def kind_of_event(event: Mapping[str, Any], prefix: str = "") -> str:
    """The kind of a frame: its event, and what happened to the order when it is about one."""
    if "e" not in event:
        return f"{prefix}bookTicker"
    what = event.get("x") if event["e"] == "executionReport" else event.get("o", {}).get("x") if event["e"] == "ORDER_TRADE_UPDATE" else None
    return f"{prefix}{event['e']}" + (f".{what}" if what else "")


def answers(client: Any, questions: Mapping[str, Ask]) -> Payloads:
    """One answer of each kind, as it came."""
    found = {}
    for kind, ask in questions.items():
        ask(client)
        found[kind] = json.loads(client.last_http_response)
    return found


async def public_frames(url: str, streams: tuple[str, ...], serving: Serving, prefix: str = "") -> Payloads:
    """One frame of each public stream."""
    found: Payloads = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json({"id": 1, "method": "SUBSCRIBE", "params": [f"btcusdt@{stream}" for stream in streams]})
        await socket.receive_json(timeout=PATIENCE_S)
        await asyncio.to_thread(serving.advance, 1)
        while len(found) < len(streams):
            event = opened(await socket.receive_json(timeout=PATIENCE_S))
            found[kind_of_event(event, prefix)] = event
    return found


async def account_frames(serving: Serving) -> Payloads:
    """The spot account's frames: an order of every fate, a list, a deposit."""
    signer = ccxt.pro.binance(serving.config())
    question = {"id": 1, "method": "userDataStream.subscribe.signature", "params": signer.sign_params({})}
    await signer.close()
    found: Payloads = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{serving.greeting['ws']}/ws-api/v3") as socket:
        await socket.send_json(question)
        await socket.receive_json(timeout=PATIENCE_S)
        await asyncio.to_thread(_live, serving)
        while "balanceUpdate" not in found:
            event = opened(await socket.receive_json(timeout=PATIENCE_S))
            found[kind_of_event(event)] = event
    return found


async def contract_frames(serving: Serving, client: Any) -> Payloads:
    """The contract account's frames."""
    key = client.fapiprivate_post_listenkey()["listenKey"]
    found: Payloads = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{serving.greeting['ws']}/fstream/private/ws?listenKey={key}") as socket:
        await asyncio.to_thread(client.create_order, CONTRACT, "market", "buy", 0.1)
        await asyncio.to_thread(client.create_order, CONTRACT, "market", "sell", 0.1, None, {"takeProfitPrice": 900_000, "reduceOnly": True})
        while "linear.ALGO_UPDATE" not in found:
            event = await socket.receive_json(timeout=PATIENCE_S)
            found[kind_of_event(event, "linear.")] = event
    return found


async def everything(serving: Serving) -> Payloads:
    """One payload of every kind that the exchange has."""
    contracts = ccxt.binanceusdm(constructor_config(*(serving.greeting[name] for name in ("rest", "ws", "api_key", "secret")), Dialect.LINEAR))
    contracts.load_markets()
    await asyncio.to_thread(_prepare, serving, contracts)
    found = await asyncio.to_thread(answers, serving.client, SPOT) | await asyncio.to_thread(answers, contracts, LINEAR)
    found |= await public_frames(f"{serving.greeting['ws']}/stream/ws", SPOT_STREAMS, serving)
    found |= await public_frames(f"{serving.greeting['ws']}/fstream/public/ws", LINEAR_STREAMS, serving, "linear.")
    return found | await account_frames(serving) | await contract_frames(serving, contracts)


def _prepare(serving: Serving, contracts: Any) -> None:
    serving.client.create_order(SYMBOL, "market", "buy", "0.5")
    for _ in range(3):
        serving.client.create_order(SYMBOL, "limit", "buy", "0.5", 100)
    contracts.create_order(CONTRACT, "market", "buy", 0.1)
    contracts.create_order(CONTRACT, "market", "sell", 0.1, None, {"stopLossPrice": 1000, "reduceOnly": True})


def _live(serving: Serving) -> None:
    client = serving.client
    resting = client.create_order(SYMBOL, "limit", "buy", "0.5", 100)
    client.cancel_order(resting["id"], SYMBOL)
    client.create_order(SYMBOL, "limit", "buy", "0.5", 100, {"timeInForce": "IOC"})
    client.create_order(SYMBOL, "market", "buy", "0.01")
    last = float(client.public_get_ticker_price(ONE)["price"])
    list_ = {"aboveType": "LIMIT_MAKER", "abovePrice": round(last * 1.2), "belowType": "STOP_LOSS", "belowStopPrice": round(last * 0.8)}
    client.private_post_orderlist_oco({**ONE, "side": "SELL", "quantity": "0.01", **list_})
    serving.admin("/deposit", {"asset": "USDT", "amount": "1"})


def _refused(client: Any) -> None:
    try:
        client.public_get_klines({"symbol": "NOSUCH", "interval": "1h"})
    except ccxt.BadSymbol:
        return
    raise AssertionError("an unknown symbol was served")


# Recorded REST answers by the end of their file's name, the first that fits.
RECORDED = (
    ("http_futures_account_orders", "linear.all_orders"),
    ("http_futures_account_position_side_dual", "linear.position_mode"),
    ("http_futures_account_positions", "linear.position_risk"),
    ("http_futures_account_symbol_config", "linear.symbol_config"),
    ("http_futures_account_trades", "linear.user_trades"),
    ("http_futures_market_agg_trades", "linear.agg_trades"),
    ("http_futures_market_book_ticker", "linear.book_ticker"),
    ("http_futures_market_depth", "linear.depth"),
    ("http_futures_market_exchange_info", "linear.exchange_info"),
    ("http_futures_market_funding_rate", "linear.funding_rate"),
    ("http_futures_market_historical_trades", "linear.historical_trades"),
    ("http_futures_market_klines", "linear.klines"),
    ("http_futures_market_premium_index", "linear.premium_index"),
    ("http_futures_market_ticker_24hr", "linear.ticker_day"),
    ("http_futures_market_ticker_price", "linear.ticker_price"),
    ("http_futures_market_trades", "linear.trades"),
    ("http_futures_wallet_commission_rate", "linear.commission_rate"),
    ("futures/http_json/account_info_v2", "linear.account"),
    ("futures/http_json/balance", "linear.balance"),
    ("futures/http_json/open_algo_orders", "linear.open_algo_orders"),
    ("futures/http_json/order_response", "linear.order"),
    ("futures/http_json/position_risk", "linear.position_risk"),
    ("historical_trades", "historical_trades"),
    ("agg_trades", "agg_trades"),
    ("avg_price", "avg_price"),
    ("book_ticker", "book_ticker"),
    ("market_depth", "depth"),
    ("depth_response", "depth"),
    ("exchange_info", "exchange_info"),
    ("klines", "klines"),
    ("ping", "ping"),
    ("ticker_24hr_response", "ticker_day"),
    ("ticker_price", "ticker_price"),
    ("trading_fee", "trade_fees"),
    ("account_trades", "my_trades"),
    ("wallet_account", "account"),
    ("account_response", "account"),
    ("all_orders", "all_orders"),
    ("cancel_open_orders", "cancel_all"),
    ("cancel_order", "cancel_order"),
    ("new_order_full", "new_order"),
    ("open_orders", "open_orders"),
    ("order_response", "order"),
    ("market_time", "time"),
    ("server_time", "time"),
    ("trades", "trades"),
    ("error_bodies", "error"),
)
ORDER_EVENTS = ("executionReport", "ORDER_TRADE_UPDATE")
TOLD = [*(f"executionReport.{what}" for what in ("NEW", "TRADE", "CANCELED", "EXPIRED")), *(f"linear.ORDER_TRADE_UPDATE.{what}" for what in ("NEW", "TRADE"))]
# Fields that are recorded and not ours, by kind, and why.
NOT_OURS = {
    "aggTrade.st": "a tag of the newest streams",
    "linear.aggTrade.st": "a tag of the newest streams",
    "linear.bookTicker.st": "a tag of the newest streams",
    "linear.bookTicker.ps": "a tag of the newest streams",
    "linear.depthUpdate.st": "a tag of the newest streams",
    "linear.depthUpdate.ps": "a tag of the newest streams",
    "linear.markPriceUpdate.st": "a tag of the newest streams",
    "bookTicker.T": "told by one of two records",
    "bookTicker.E": "told by one of two records",
    "trade.a": "order numbers, no longer told",
    "trade.b": "order numbers, no longer told",
    "exchange_info.sors": "smart order routing is offered by few symbols only",
    "executionReport.EXPIRED.eR": "the expiry's reason, told of some expiries only",
    "linear.ORDER_TRADE_UPDATE.NEW.o.N": "a commission, told of trades only",
    "linear.ORDER_TRADE_UPDATE.NEW.o.n": "a commission, told of trades only",
    "linear.ORDER_TRADE_UPDATE.NEW.o.W": "told by one of two records",
    "linear.ORDER_TRADE_UPDATE.TRADE.o.W": "told by one of two records",
    "linear.ORDER_TRADE_UPDATE.NEW.o.AP": "of trailing orders, which are conditional ones here as on Binance since 2025",
    "linear.ORDER_TRADE_UPDATE.NEW.o.cr": "of trailing orders",
    "linear.ORDER_TRADE_UPDATE.TRADE.o.AP": "of trailing orders",
    "linear.ORDER_TRADE_UPDATE.TRADE.o.cr": "of trailing orders",
    "linear.all_orders[0].activatePrice": "of trailing orders",
    "linear.all_orders[0].priceRate": "of trailing orders",
    "linear.open_algo_orders[0].type": "told beside orderType by one record",
}
# Not served, and why.
NOT_SERVED = {
    "continuous_klines": "no dated futures",
    "index_price_klines": "the index is the mark price, which has no candles of its own",
    "mark_price_klines": "the mark price has no candles of its own",
    "asset_index": "no multi-assets mode",
    "blvt": "no leveraged tokens",
    "index_info": "no composite index",
    "open_interest": "nobody else holds contracts",
    "long_short": "nobody else holds contracts",
    "top_long": "nobody else holds contracts",
    "liquidation_stream": "nobody else is liquidated",
    "margin_account": "no spot margin",
    "ticker_stream": "contracts stream no tickers",
    "ws_futures_ticker_24hr": "contracts stream no tickers",
    "trade_lite": "ORDER_TRADE_UPDATE tells of the same trade",
    "binance_us": "another exchange",
    "price_match": "no price matching",
    "wallet_trading_fee.json": "one fee outside a list: Binance answers a list",
    "if_touched": "no price matching",
}


def kind_of(name: str, payload: Any) -> str | None:
    """The kind of a recorded payload in a file of this name; None for one that is not served."""
    if any(part in name for part in NOT_SERVED):
        return None
    event = opened(payload)
    if isinstance(event, dict) and ("e" in event or {"u", "A"} <= set(event)):
        kind = kind_of_event(event, "linear." if "futures" in name.lower() or "binance_um" in name else "")
        head, dot, what = kind.rpartition(".")
        # What is told of an order has one form, whatever happened to it.
        return f"{head}.NEW" if head.endswith(ORDER_EVENTS) and dot and f"{head}.{what}" not in TOLD else kind
    return next(kind for part, kind in RECORDED if part in name)
