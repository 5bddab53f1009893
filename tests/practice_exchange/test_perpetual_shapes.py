"""Contract answers and events against recorded ones: every field that Binance sent is there, with the same type. Needs the folder named by TRADEWIND_DATA."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from desk.execution.ccxt_settings import Dialect, constructor_config
from tests.practice_exchange.conftest import Serving
from tests.practice_exchange.test_wire_shapes import differences

pytestmark = pytest.mark.data

BTC = {"symbol": "BTCUSDT"}
# Sent for some kinds of order only, or names of accounts that are not served here.
NOT_OURS = ("activatePrice", "priceRate", ".type missing", "underlyingType", ".st missing", ".ps missing", "AP missing", "cr missing", "filters", "isolatedM")


@pytest.fixture(scope="module")
def contracts(serve: Callable[..., Serving]) -> tuple[Serving, Any]:
    serving = serve("--seed", 5, "--symbols", "BTC/USDT", "--history-bars", 100, "--stream-bars", 10)
    client = ccxt.binanceusdm(constructor_config(*(serving.greeting[name] for name in ("rest", "ws", "api_key", "secret")), Dialect.LINEAR))
    client.load_markets()
    client.create_order("BTC/USDT:USDT", "market", "buy", 0.1)
    client.create_order("BTC/USDT:USDT", "market", "sell", 0.1, None, {"stopLossPrice": 1000, "reduceOnly": True})
    return serving, client


def missing_in(recorded: Any, ours: Any) -> list[str]:
    return [found for found in differences(recorded, ours) if not any(part in found for part in NOT_OURS)]


QUESTIONS: dict[str, Callable[[Any], object]] = {
    "http_responses/http_futures_market_exchange_info.json": lambda client: client.fapipublic_get_exchangeinfo(),
    "http_responses/http_futures_market_depth.json": lambda client: client.fapipublic_get_depth(BTC),
    "http_responses/http_futures_market_klines.json": lambda client: client.fapipublic_get_klines({**BTC, "interval": "1h"}),
    "http_responses/http_futures_market_agg_trades.json": lambda client: client.fapipublic_get_aggtrades(BTC),
    "http_responses/http_futures_market_trades.json": lambda client: client.fapipublic_get_trades(BTC),
    "http_responses/http_futures_market_ticker_24hr.json": lambda client: client.fapipublic_get_ticker_24hr(BTC),
    "http_responses/http_futures_market_ticker_price.json": lambda client: client.fapipublic_get_ticker_price(BTC),
    "http_responses/http_futures_market_book_ticker.json": lambda client: client.fapipublic_get_ticker_bookticker(BTC),
    "http_responses/http_futures_market_premium_index.json": lambda client: client.fapipublic_get_premiumindex(BTC),
    "http_responses/http_futures_market_funding_rate.json": lambda client: client.fapipublic_get_fundingrate(BTC),
    "http_responses/http_futures_wallet_commission_rate_btcusdt.json": lambda client: client.fapiprivate_get_commissionrate(BTC),
    "http_responses/http_futures_account_orders.json": lambda client: client.fapiprivate_get_allorders(BTC),
    "http_responses/http_futures_account_trades.json": lambda client: client.fapiprivate_get_usertrades(BTC),
    "http_responses/http_futures_account_symbol_config.json": lambda client: client.fapiprivate_get_symbolconfig(BTC),
    "futures/http_json/account_info_v2.json": lambda client: client.fapiprivatev2_get_account(),
    "futures/http_json/balance.json": lambda client: client.fapiprivatev3_get_balance(),
    "futures/http_json/position_risk.json": lambda client: client.fapiprivatev2_get_positionrisk(BTC),
    "futures/http_json/open_algo_orders.json": lambda client: client.fapiprivate_get_openalgoorders(BTC),
    "futures/http_json/order_response.json": lambda client: client.fapiprivate_get_order({**BTC, "orderId": 1}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_has_every_recorded_field(contracts: tuple[Serving, Any], real_data: Path, name: str) -> None:
    recorded = json.loads((real_data / "api" / "nautilus_binance" / name).read_text())

    QUESTIONS[name](contracts[1])

    assert [] == missing_in(recorded, json.loads(contracts[1].last_http_response))


STREAMS = {
    "trade_stream": "btcusdt@trade",
    "agg_trade_stream": "btcusdt@aggTrade",
    "depth_update_stream": "btcusdt@depth",
    "kline_stream_closed": "btcusdt@kline_1h",
    "mark_price_stream": "btcusdt@markPrice",
    "book_ticker_stream": "btcusdt@bookTicker",
}


@pytest.mark.asyncio
async def test_public_events_have_every_recorded_field(contracts: tuple[Serving, Any], real_data: Path) -> None:
    serving, found = contracts[0], {}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{serving.greeting['ws']}/fstream/public/ws") as socket:
        await socket.send_json({"id": 1, "method": "SUBSCRIBE", "params": list(STREAMS.values())})
        await socket.receive_json(timeout=10)
        await asyncio.to_thread(serving.advance, 1)
        while len(found) < len(STREAMS):
            event = await socket.receive_json(timeout=10)
            found.setdefault(event["e"], event)

    for name in STREAMS:
        recorded = json.loads((real_data / "api" / "nautilus_binance" / "futures" / "market_data_json" / f"{name}.json").read_text())
        assert [] == missing_in(recorded, found[recorded["e"]])


@pytest.mark.asyncio
async def test_account_events_have_every_recorded_field(contracts: tuple[Serving, Any], real_data: Path) -> None:
    serving, client = contracts
    key = client.fapiprivate_post_listenkey()["listenKey"]
    events = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{serving.greeting['ws']}/fstream/private/ws?listenKey={key}") as socket:
        await asyncio.to_thread(client.create_order, "BTC/USDT:USDT", "market", "buy", 0.1)
        await asyncio.to_thread(client.create_order, "BTC/USDT:USDT", "market", "sell", 0.1, None, {"takeProfitPrice": 900_000, "reduceOnly": True})
        while not events or events[-1]["e"] != "ALGO_UPDATE":
            events.append(await socket.receive_json(timeout=10))
    traded = next(event for event in events if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE")
    accounted = next(event for event in events if event["e"] == "ACCOUNT_UPDATE")

    for name, ours in (("order_update_trade", traded), ("account_update", accounted), ("algo_update_new", events[-1])):
        recorded = json.loads((real_data / "api" / "nautilus_binance" / "futures" / "user_data_json" / f"{name}.json").read_text())
        assert [] == missing_in(recorded, ours)
