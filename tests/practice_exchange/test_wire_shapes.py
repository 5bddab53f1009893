"""Answers against recorded ones: every field that Binance sent is there, with the same type. Needs the folder named by TRADEWIND_DATA."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from tests.practice_exchange.conftest import Serving

pytestmark = pytest.mark.data

SYMBOL = "BTC/USDT"
# Smart order routing is offered by few symbols only.
NOT_OURS = {"sors"}


@pytest.fixture(scope="module")
def exchange(serve: Callable[..., Serving]) -> Serving:
    serving = serve("--seed", 5, "--symbols", SYMBOL, "--history-bars", 100, "--stream-bars", 10)
    serving.client.create_order(SYMBOL, "market", "buy", "0.5")
    serving.client.create_order(SYMBOL, "limit", "buy", "0.5", 100)
    return serving


def differences(recorded: Any, ours: Any, where: str = "") -> list[str]:
    """Fields missing or of another type; of lists the first elements are compared."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        missing = [f"{where}.{name} missing" for name in recorded if name not in ours and name not in NOT_OURS]
        return missing + [found for name in recorded if name in ours for found in differences(recorded[name], ours[name], f"{where}.{name}")]
    if isinstance(recorded, list) and isinstance(ours, list):
        return differences(recorded[0], ours[0], f"{where}[0]") if recorded and ours else []
    # Numbers may be whole in one and not in the other; null says nothing about the type.
    same = recorded is None or ours is None or type(recorded) is type(ours)
    return [] if same else [f"{where}: {type(recorded).__name__} recorded, {type(ours).__name__} found"]


QUESTIONS = {
    "http_responses/http_spot_market_klines.json": lambda client: client.public_get_klines({"symbol": "BTCUSDT", "interval": "1h"}),
    "http_responses/http_spot_market_agg_trades.json": lambda client: client.public_get_aggtrades({"symbol": "BTCUSDT"}),
    "http_responses/http_spot_market_trades.json": lambda client: client.public_get_trades({"symbol": "BTCUSDT"}),
    "http_responses/http_spot_market_depth.json": lambda client: client.public_get_depth({"symbol": "BTCUSDT"}),
    "http_responses/http_spot_market_book_ticker.json": lambda client: client.public_get_ticker_bookticker({"symbol": "BTCUSDT"}),
    "http_responses/http_spot_market_avg_price.json": lambda client: client.public_get_avgprice({"symbol": "BTCUSDT"}),
    "http_responses/http_spot_market_time.json": lambda client: client.public_get_time(),
    "spot/http_json/account_response.json": lambda client: client.private_get_account(),
    "spot/http_json/account_trades_response.json": lambda client: client.private_get_mytrades({"symbol": "BTCUSDT"}),
    "spot/http_json/all_orders_response.json": lambda client: client.private_get_allorders({"symbol": "BTCUSDT"}),
    "spot/http_json/cancel_order_response.json": lambda client: client.private_delete_order({"symbol": "BTCUSDT", "orderId": 2}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_has_every_recorded_field(exchange: Serving, real_data: Path, name: str) -> None:
    recorded = json.loads((real_data / "api" / "nautilus_binance" / name).read_text())

    QUESTIONS[name](exchange.client)

    assert [] == differences(recorded, json.loads(exchange.client.last_http_response))


def test_exchange_info_has_every_recorded_field(exchange: Serving, real_data: Path) -> None:
    recorded = json.loads((real_data / "api" / "nautilus_binance" / "spot" / "http_json" / "exchange_info_response.json").read_text())
    recorded["symbols"] = [{name: value for name, value in symbol.items() if name != "filters"} for symbol in recorded["symbols"]]

    exchange.client.public_get_exchangeinfo()

    assert [] == differences(recorded, json.loads(exchange.client.last_http_response))


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["new", "trade", "canceled"])
async def test_an_execution_report_has_every_recorded_field(exchange: Serving, real_data: Path, name: str) -> None:
    recorded = json.loads((real_data / "api" / "nautilus_binance" / "ws_messages" / f"ws_spot_execution_report_{name}.json").read_text())["data"]
    signer = ccxt.pro.binance(exchange.config())
    question = {"id": 1, "method": "userDataStream.subscribe.signature", "params": signer.sign_params({})}
    await signer.close()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/ws-api/v3") as socket:
        await socket.send_json(question)
        await socket.receive_json(timeout=10)
        if name == "canceled":
            resting = await asyncio.to_thread(exchange.client.create_order, SYMBOL, "limit", "buy", "0.5", 100)
            await asyncio.to_thread(exchange.client.cancel_order, resting["id"], SYMBOL)
        else:
            await asyncio.to_thread(exchange.client.create_order, SYMBOL, "market", "buy", "0.01")
        while (report := (await socket.receive_json(timeout=10))["event"]).get("x") != recorded["x"]:
            pass

    assert [] == differences(recorded, report)
