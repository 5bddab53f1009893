"""Faults of streams: frames that are lost, doubled, late or told again, and sockets that fall silent or end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from tests.practice_exchange.conftest import SYMBOL, Serving, buy


async def heard(exchange: Serving, fault: dict[str, Any], bars: int, stream: str = "btcusdt@kline_1h") -> list[dict[str, Any]]:
    """The frames of a stream while bars close under a fault."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": [stream], "id": 1})
        await socket.receive_json(timeout=10)
        await asyncio.to_thread(exchange.admin, "/faults", {"stream": stream, **fault})
        await asyncio.to_thread(exchange.advance, bars)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        frames: list[dict[str, Any]] = []
        while "result" not in (frame := await socket.receive_json(timeout=10)):
            frames.append(frame)
        return frames


def closes(frames: list[dict[str, Any]]) -> list[int]:
    """Open times of the final candles, counted in bars from the first one."""
    times = [frame["k"]["t"] for frame in frames if frame["k"]["x"]]
    return [(time - min(times)) // 3_600_000 for time in times]


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


STREAMS = [
    ({"kind": "suppress_event", "nth": 3}, [0, 2]),
    ({"kind": "duplicate", "nth": 3}, [0, 1, 1, 2]),
    ({"kind": "stale_event", "nth": 5, "back": 4}, [0, 1, 2, 0]),
    ({"kind": "reorder", "nth": 1}, [0, 1, 2]),
    ({"kind": "suppress_event", "chance": 0.0}, [0, 1, 2]),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "expected"), STREAMS, ids=[str(fault) for fault, _ in STREAMS])
async def test_frames_are_lost_doubled_and_replayed_as_planned(exchange: Serving, fault: dict[str, Any], expected: list[int]) -> None:
    """Each boundary tells two frames: the candle that closed, then the one that forms."""
    assert expected == closes(await heard(exchange, fault, 3))


@pytest.mark.asyncio
async def test_a_reordered_frame_comes_after_the_next_one(exchange: Serving) -> None:
    frames = await heard(exchange, {"kind": "reorder", "nth": 1}, 1)

    assert [False, True] == [frame["k"]["x"] for frame in frames]


@pytest.mark.asyncio
async def test_sequence_numbers_of_a_book_jump(exchange: Serving) -> None:
    frames = await heard(exchange, {"kind": "skip_seq", "event": "depthUpdate", "nth": 2, "gap": 7}, 3, "btcusdt@depth@100ms")

    assert [8, -6] == [later["U"] - earlier["u"] for earlier, later in itertools.pairwise(frames)]


@pytest.mark.asyncio
async def test_a_frozen_socket_gives_no_pong_and_a_new_one_does(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{exchange.greeting['ws']}/stream/ws", autoping=False) as socket:
            await asyncio.to_thread(exchange.admin, "/faults", {"kind": "freeze_ws"})
            await socket.ping()
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.3)
        async with session.ws_connect(f"{exchange.greeting['ws']}/stream/ws", autoping=False) as socket:
            await socket.ping()

            assert aiohttp.WSMsgType.PONG is (await socket.receive(timeout=10)).type


@pytest.mark.asyncio
async def test_sockets_are_closed_with_the_code_that_was_planned(exchange: Serving) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/stream/ws") as socket:
        await asyncio.to_thread(exchange.admin, "/faults", {"kind": "close_ws", "close_code": 1008})

        message = await socket.receive(timeout=10)

    assert (aiohttp.WSMsgType.CLOSE, 1008) == (message.type, message.data)


@pytest.mark.asyncio
async def test_an_old_report_of_a_fill_is_told_again_at_a_cancel(exchange: Serving) -> None:
    """The account's stream tells NEW, FILLED, NEW, CANCELED; the fill comes again after the cancel."""
    fault = {"kind": "stale_event", "stream": "user", "event": "executionReport", "nth": 4, "back": 2}
    question = {"id": 1, "method": "userDataStream.subscribe.signature", "params": ccxt.pro.binance(exchange.config()).sign_params({})}
    statuses: list[str] = []

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.greeting['ws']}/ws-api/v3") as socket:
        await socket.send_json(question)
        await socket.receive_json(timeout=10)
        await asyncio.to_thread(exchange.admin, "/faults", fault)
        await asyncio.to_thread(buy, exchange.client, "told-again")
        resting = await asyncio.to_thread(exchange.client.create_order, SYMBOL, "limit", "buy", "0.01", 20_000)
        await asyncio.to_thread(exchange.client.cancel_order, resting["id"], SYMBOL)
        while len(statuses) < 5:
            event = (await socket.receive_json(timeout=10))["event"]
            statuses += [event["X"]] if event["e"] == "executionReport" else []

    assert ["NEW", "FILLED", "NEW", "CANCELED", "FILLED"] == statuses


@pytest.mark.asyncio
async def test_the_user_streams_of_both_sides_end_with_their_key(exchange: Serving) -> None:
    question = {"id": 1, "method": "userDataStream.subscribe.signature", "params": ccxt.pro.binance(exchange.config()).sign_params({})}
    urls = exchange.greeting

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{urls['ws']}/ws-api/v3") as spot:
        async with session.post(f"{urls['rest']}/fapi/v1/listenKey", headers={"X-MBX-APIKEY": urls["api_key"]}) as answer:
            key = (await answer.json())["listenKey"]
        contract = await session.ws_connect(f"{urls['ws']}/fstream/private/ws?listenKey={key}")
        await spot.send_json(question)
        await spot.receive_json(timeout=10)
        await asyncio.to_thread(exchange.admin, "/faults", {"kind": "expire_listen_key"})

        told = (await spot.receive_json(timeout=10))["event"]["e"], (await contract.receive_json(timeout=10))["e"]

    assert ("eventStreamTerminated", "listenKeyExpired") == told
