"""Streams through unmodified ccxt.pro: every bar arrives, the book stays whole, and the account hears of its orders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ccxt
import ccxt.pro
import pytest

from desk.practice_exchange.line import QUEUE_FRAMES, Connection
from tests.practice_exchange.conftest import Serving

pytestmark = pytest.mark.asyncio

SYMBOL = "BTC/USDT"
SYMBOLS = ("BTC/USDT", "ETH/USDT", "XRP/USDT")
HOUR_MS = 3_600_000
PATIENCE_S = 10


@pytest.fixture(scope="module")
def exchange(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 11, "--symbols", ",".join(SYMBOLS), "--history-bars", 50, "--stream-bars", 400)


@asynccontextmanager
async def listening(exchange: Serving) -> AsyncIterator[Any]:
    client = ccxt.pro.binance(exchange.config())
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


async def advance(exchange: Serving, bars: int) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{exchange.greeting['admin']}/advance", json={"bars": bars}) as answer:
        assert 200 == answer.status


async def subscribed(exchange: Serving, first: Awaitable[Any]) -> Any:
    """Drive the market until a subscription has spoken for the first time."""
    waiting = asyncio.ensure_future(first)
    while not waiting.done():
        await advance(exchange, 1)
        await asyncio.wait([waiting], timeout=0.05)
    return waiting.result()


async def test_every_bar_of_every_symbol_arrives_in_lock_step(exchange: Serving) -> None:
    """One task per symbol; after each advance the closed bar must come, exactly as REST tells it later."""
    bars = 25
    async with listening(exchange) as client:
        await asyncio.gather(*(subscribed(exchange, client.watch_ohlcv(symbol, "1h")) for symbol in SYMBOLS))
        start = await client.fetch_time()
        seen: dict[str, dict[int, list[float]]] = {symbol: {} for symbol in SYMBOLS}

        async def watch(symbol: str, opened: int) -> None:
            while opened + HOUR_MS not in seen[symbol]:
                for row in await client.watch_ohlcv(symbol, "1h"):
                    seen[symbol][row[0]] = row

        for number in range(bars):
            watching = asyncio.gather(*(watch(symbol, start + number * HOUR_MS) for symbol in SYMBOLS))
            await advance(exchange, 1)
            await asyncio.wait_for(watching, PATIENCE_S)

        for symbol in SYMBOLS:
            expected = await client.fetch_ohlcv(symbol, "1h", start, bars)
            assert expected == [seen[symbol][row[0]] for row in expected]


async def test_many_bars_at_once_all_arrive_final_and_in_order(exchange: Serving) -> None:
    """On the wire, below ccxt's cache: one final frame per closed bar, each followed by the first of the next."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": 1})
        assert {"result": None, "id": 1} == await socket.receive_json(timeout=PATIENCE_S)
        await advance(exchange, 30)
        frames = [(await socket.receive_json(timeout=PATIENCE_S))["k"] for _ in range(60)]

    assert [True, False] * 30 == [frame["x"] for frame in frames]
    finals = [frame for frame in frames if frame["x"]]
    assert [finals[0]["t"] + number * HOUR_MS for number in range(30)] == [frame["t"] for frame in finals]
    assert all(float(frame["v"]) == 0 and frame["o"] == frame["h"] == frame["l"] == frame["c"] for frame in frames if not frame["x"])


async def test_a_longer_candle_is_final_only_when_it_is_over(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_4h"], "id": 1})
        await socket.receive_json(timeout=PATIENCE_S)
        await advance(exchange, 8)
        frames = [await socket.receive_json(timeout=PATIENCE_S) for _ in range(10)]

    finals = [frame for frame in frames if frame["k"]["x"]]
    assert 2 == len(finals)
    assert all(frame["E"] == frame["k"]["T"] + 1 for frame in finals)


async def test_the_book_that_ccxt_keeps_equals_the_snapshot(exchange: Serving) -> None:
    async with listening(exchange) as client:
        await subscribed(exchange, client.watch_order_book(SYMBOL))
        start = client.orderbooks[SYMBOL]["nonce"]
        watching = asyncio.ensure_future(client.watch_order_book(SYMBOL))
        await advance(exchange, 5)
        await asyncio.wait_for(watching, PATIENCE_S)
        while client.orderbooks[SYMBOL]["nonce"] < start + 5:
            await asyncio.wait_for(client.watch_order_book(SYMBOL), PATIENCE_S)

        snapshot = await client.fetch_order_book(SYMBOL, 1000)
        kept = client.orderbooks[SYMBOL]
        assert snapshot["nonce"] == kept["nonce"]
        assert snapshot["bids"] == [list(level[:2]) for level in kept["bids"]]
        assert snapshot["asks"] == [list(level[:2]) for level in kept["asks"]]


async def test_trades_and_tickers_are_told(exchange: Serving) -> None:
    async with listening(exchange) as client:
        trades = await subscribed(exchange, client.watch_trades(SYMBOL))
        mini = await subscribed(exchange, client.watch_ticker(SYMBOL))
        ticker = await subscribed(exchange, client.watch_ticker(SYMBOL, {"name": "ticker"}))
        best = await subscribed(exchange, client.watch_bids_asks([SYMBOL]))

    assert SYMBOL == trades[0]["symbol"] == mini["symbol"] == ticker["symbol"]
    assert 0 < ticker["bid"] < ticker["ask"]
    assert 0 < best[SYMBOL]["bid"] < best[SYMBOL]["ask"]


async def test_the_account_hears_of_its_orders_executions_and_balances(exchange: Serving) -> None:
    async with listening(exchange) as client:
        await client.authenticate({"type": "spot"})
        watching = [asyncio.ensure_future(task) for task in (client.watch_orders(SYMBOL), client.watch_my_trades(SYMBOL), client.watch_balance())]

        order = await client.create_order(SYMBOL, "market", "buy", "0.1", None, {"newClientOrderId": "heard"})
        told, trades, balance = await asyncio.wait_for(asyncio.gather(*watching), PATIENCE_S)

        assert order["id"] == told[0]["id"]
        assert (order["id"], 0.1) == (trades[0]["order"], trades[0]["amount"])
        assert balance["BTC"] == (await client.fetch_balance())["BTC"]


async def test_an_order_can_be_placed_over_the_socket(exchange: Serving) -> None:
    async with listening(exchange) as client:
        placed = await client.create_order_ws(SYMBOL, "limit", "buy", 0.1, 100)
        cancelled = await client.cancel_order_ws(placed["id"], SYMBOL)

    assert ("open", "canceled") == (placed["status"], cancelled["status"])


async def test_a_wrong_signature_cannot_listen_to_the_account(exchange: Serving) -> None:
    """On the wire: ccxt itself stumbles over its own bookkeeping when a subscription is refused."""
    stranger = ccxt.pro.binance({**exchange.config(), "secret": "wrong"})
    question = {"id": 1, "method": "userDataStream.subscribe.signature", "params": stranger.sign_params({})}
    await stranger.close()

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/ws-api/v3") as socket:
        await socket.send_json(question)
        answer = await socket.receive_json(timeout=PATIENCE_S)

    assert (1, 400, -1022) == (answer["id"], answer["status"], answer["error"]["code"])


async def test_a_stream_can_be_left(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        for method, left in (("SUBSCRIBE", ["btcusdt@trade"]), ("UNSUBSCRIBE", [])):
            await socket.send_json({"method": method, "params": ["btcusdt@trade"], "id": 1})
            await socket.receive_json(timeout=PATIENCE_S)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})

            assert {"result": left, "id": 2} == await socket.receive_json(timeout=PATIENCE_S)


async def test_a_client_that_does_not_read_is_closed_and_holds_nobody_up() -> None:
    """A frame in the middle is never lost: the whole connection is."""
    closed = asyncio.Event()

    class Stuck:
        closed = False

        async def send_str(self, frame: str) -> None:
            raise AssertionError(f"nothing may be sent any more: {frame}")

        async def close(self, **reason: object) -> None:
            closed.set()

    connection = Connection(Stuck())  # type: ignore[arg-type]
    for number in range(QUEUE_FRAMES + 1):
        connection.send({"frame": number})

    await connection.write()

    assert closed.is_set()


async def test_an_unknown_stream_is_refused(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws/1") as socket:
        for streams in (["nopeusdt@trade"], ["btcusdt@kline_7h"], ["btcusdt@nothing"]):
            await socket.send_json({"method": "SUBSCRIBE", "params": streams, "id": 3})
            assert 2 == (await socket.receive_json(timeout=PATIENCE_S))["error"]["code"]


async def test_nonsense_is_answered_not_fatal(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/ws-api/v3") as socket:
        for nonsense in ("{", "[]", '"x"', json.dumps({"method": "no.such", "id": 1}), json.dumps({"method": "order.place", "id": 1, "params": []})):
            await socket.send_str(nonsense)
            assert 200 != (await socket.receive_json(timeout=PATIENCE_S))["status"]


async def test_time_that_flows_closes_bars_by_itself(serve: Callable[..., Serving]) -> None:
    flowing = serve("--seed", 5, "--symbols", SYMBOL, "--history-bars", 20, "--stream-bars", 8, "--speed", 36_000)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{flowing.greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": 1})
        await socket.receive_json(timeout=PATIENCE_S)
        while not (frame := await socket.receive_json(timeout=PATIENCE_S))["k"]["x"]:
            pass

    assert frame["E"] == frame["k"]["T"] + 1
