"""Faults on demand: what the client sees, and whether the exchange did what it was asked all the same."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import ccxt
import ccxt.async_support
import pytest

from desk.practice_exchange.faults import BadFault, Fault, FaultKind, Faults, fault_of
from tests.practice_exchange.conftest import Serving

SYMBOL = "BTC/USDT"
ORDER = "/api/v3/order"


@pytest.fixture(scope="module")
def started(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 5, "--symbols", SYMBOL, "--history-bars", 20, "--stream-bars", 50, "--deposit", 10_000_000)


@pytest.fixture
def exchange(started: Serving) -> Iterator[Serving]:
    yield started

    request = urllib.request.Request(started.greeting["admin"] + "/faults", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


def placed(exchange: Serving, client_id: str) -> bool:
    return any(order["clientOrderId"] == client_id for order in exchange.admin("/orders"))


def buy(client: Any, client_id: str) -> Any:
    return client.create_order(SYMBOL, "market", "buy", "0.01", None, {"newClientOrderId": client_id})


SYNC = [
    ({"kind": "drop"}, ccxt.NetworkError, True),
    ({"kind": "drop", "before": True}, ccxt.NetworkError, False),
    ({"kind": "truncate"}, ccxt.NetworkError, True),
    ({"kind": "http", "status": 503}, ccxt.ExchangeNotAvailable, True),
    ({"kind": "http", "status": 504, "before": True}, ccxt.RequestTimeout, False),
    ({"kind": "empty", "status": 502, "before": True}, ccxt.ExchangeNotAvailable, False),
    ({"kind": "error", "status": 503, "code": -1008, "msg": "Server is currently overloaded"}, ccxt.OperationFailed, True),
    ({"kind": "error", "status": 400, "code": -1007, "msg": "Timeout waiting for response from backend server."}, ccxt.RequestTimeout, True),
    ({"kind": "error", "status": 429, "code": -1003, "before": True}, ccxt.DDoSProtection, False),
]


@pytest.mark.parametrize(("fault", "expected", "done"), SYNC, ids=[str(fault) for fault, _, _ in SYNC])
def test_a_faulty_answer_has_its_class_and_the_order_its_fate(exchange: Serving, fault: dict[str, Any], expected: type[Exception], done: bool) -> None:
    exchange.admin("/faults", {"path": ORDER, "method": "POST", **fault})
    client_id = "-".join(f"{value}".strip("-")[:8].replace(" ", "") for value in fault.values()).replace("True", "before")

    with pytest.raises(expected):
        buy(exchange.client, client_id)

    assert done is placed(exchange, client_id)


@pytest.mark.asyncio
async def test_the_async_client_sees_a_cut_answer_as_a_plain_error(exchange: Serving) -> None:
    """The dangerous one: the class looks like a refusal, and the order exists."""
    await asyncio.to_thread(exchange.admin, "/faults", {"kind": "truncate", "path": ORDER})
    client = ccxt.async_support.binance(exchange.config())
    client.set_markets(exchange.client.markets)
    try:
        with pytest.raises(ccxt.BaseError):
            await buy(client, "cut")
    finally:
        await client.close()

    assert await asyncio.to_thread(placed, exchange, "cut")


def test_a_page_where_json_should_be_gives_an_order_without_an_id(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "http", "status": 200, "path": ORDER})

    answer = buy(exchange.client, "page")

    assert answer["id"] is None
    assert placed(exchange, "page")


def test_a_late_answer_comes_after_the_client_gave_up(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "delay", "seconds": 1.0, "path": ORDER})
    impatient = ccxt.binance({**exchange.config(), "timeout": 200})
    impatient.set_markets(exchange.client.markets)

    with pytest.raises(ccxt.RequestTimeout):
        buy(impatient, "late")

    assert placed(exchange, "late")


def test_a_request_that_is_late_on_its_way_dies_by_its_window(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "delay", "seconds": 0.4, "path": ORDER, "before": True})
    client = ccxt.binance(exchange.config())
    client.set_markets(exchange.client.markets)
    client.options["recvWindow"] = 200

    with pytest.raises(ccxt.InvalidNonce):
        buy(client, "too-late")

    assert not placed(exchange, "too-late")


def test_a_fault_strikes_the_requests_it_names_and_no_other() -> None:
    faults = Faults()
    fault = Fault(FaultKind.DROP, method="GET", symbol="BTCUSDT", nth=2, times=2)
    faults.plan(fault)

    struck = [faults.due("GET", ORDER, symbol) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "BTCUSDT", "BTCUSDT")]

    assert [None, None, fault, fault, None] == struck
    assert faults.due("POST", ORDER, "BTCUSDT") is None


@pytest.mark.parametrize("body", [[], {}, {"kind": "nonsense"}, {"kind": "drop", "colour": "red"}, {"kind": "drop", "nth": "first"}])
def test_a_fault_that_cannot_be_practised_is_refused(body: object) -> None:
    with pytest.raises(BadFault):
        fault_of(body)


@pytest.mark.parametrize("skew_ms", [-10_000, 10_000])
def test_a_skewed_wire_clock_refuses_signatures_and_leaves_market_time_alone(exchange: Serving, skew_ms: int) -> None:
    before = exchange.client.fetch_time()
    exchange.admin("/wire-clock", {"skew_ms": skew_ms})

    with pytest.raises(ccxt.InvalidNonce):
        exchange.client.fetch_balance()

    assert before == exchange.client.fetch_time()


@pytest.mark.asyncio
async def test_frozen_streams_say_nothing_and_closed_ones_end(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": 1})
        await socket.receive_json(timeout=10)
        await asyncio.to_thread(exchange.admin, "/streams/freeze", {})
        await asyncio.to_thread(exchange.advance, 1)
        await asyncio.to_thread(exchange.admin, "/streams/thaw", {})
        now = (await asyncio.to_thread(exchange.advance, 1))["now"]

        heard = await socket.receive_json(timeout=10)
        await asyncio.to_thread(exchange.admin, "/streams/close", {})
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass

    assert exchange.client.parse8601(now.replace("+00:00", "Z")) == heard["E"]
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
