"""What the practice exchange carries: signed orders per second on one core, what ccxt reaches beside it, and how fast a day of candles streams.

Medians of a few runs, each on a fresh exchange; the load average says what else the machine did.

The server is pinned to one core and the client to another. Orders go over keep-alive connections, each waiting for its answer before the next; the
journal is on disk. The stream is a day of one-minute candles of twenty symbols, every candle heard by a client that listens to all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt
import psutil
from _exchange import ask, exchange

from desk.execution.ccxt_settings import constructor_config

ORDERS, CCXT_ORDERS, CONNECTIONS = 6000, 600, 8
GOAL_ORDERS, GOAL_STREAM_S, PATIENCE_S = 1500.0, 60.0, 30.0
RUNS = 3
SYMBOLS, MINUTES, STEP = 20, 24 * 60, 20
PLENTY = ("--weight-limit", "100000000", "--deposit", "100000000")
BUY_THEN_SELL = (("BUY", "0.0008"), ("SELL", "0.0006"))  # fees come out of what is bought
SERVER_CORE, CLIENT_CORE = 0, 1


def pin(pid: int) -> None:
    """One core for the server, another for us, where there are two."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {SERVER_CORE})
        os.sched_setaffinity(0, {CLIENT_CORE})


def requests(greeting: dict[str, Any], numbers: Iterator[int]) -> Iterator[bytes]:
    """Market orders that buy and sell in turn, signed as they leave."""
    secret, host = greeting["secret"].encode(), urlsplit(greeting["rest"]).netloc
    head = f"Host: {host}\r\nX-MBX-APIKEY: {greeting['api_key']}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    for number in numbers:
        side, quantity = BUY_THEN_SELL[number % 2]
        asked = f"symbol=BTCUSDT&side={side}&type=MARKET&quantity={quantity}&newClientOrderId=b-{number}&timestamp={time.time_ns() // 1_000_000}"
        body = f"{asked}&signature={hmac.new(secret, asked.encode(), hashlib.sha256).hexdigest()}"
        yield f"POST /api/v3/order HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def talk(greeting: dict[str, Any], orders: Iterator[bytes], times: int) -> int:
    """So many orders over one connection; returns how many were filled."""
    url = urlsplit(greeting["rest"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    filled = 0
    for _ in range(times):
        writer.write(next(orders))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        filled += b'"status":"FILLED"' in await reader.readexactly(length)
    writer.close()
    return filled


async def raw_rate(greeting: dict[str, Any]) -> tuple[float, int]:
    """Orders per second over all connections, and how many were filled."""
    orders = requests(greeting, count())
    begun = time.perf_counter()
    filled = await asyncio.gather(*(talk(greeting, orders, ORDERS // CONNECTIONS) for _ in range(CONNECTIONS)))
    return ORDERS / (time.perf_counter() - begun), sum(filled)


def ccxt_rate(greeting: dict[str, Any]) -> float:
    """Orders per second of an unmodified ccxt, one after the other, without its throttle."""
    config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")))
    client = ccxt.binance({**config, "enableRateLimit": False})
    client.load_markets()
    begun = time.perf_counter()
    for number in range(CCXT_ORDERS):
        side, quantity = BUY_THEN_SELL[number % 2]
        client.create_order("BTC/USDT", "market", side.lower(), quantity, None, {"newClientOrderId": f"c-{number}"})
    return CCXT_ORDERS / (time.perf_counter() - begun)


async def stream_seconds(greeting: dict[str, Any], streams: list[str]) -> tuple[float, int]:
    """Seconds until a listener has heard a whole day, and how many final candles that were: in an outage of the market there are none."""
    heard = 0
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{greeting['ws']}/stream/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": streams, "id": 1})
        await socket.receive_json(timeout=PATIENCE_S)
        begun = time.perf_counter()
        for _ in range(MINUTES // STEP):
            await asyncio.to_thread(ask, greeting, "/advance", {"bars": STEP})
            # Its answer comes after every frame that was on its way.
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            while '"result"' not in (frame := await socket.receive_str(timeout=PATIENCE_S)):
                heard += '"x":true' in frame
    return time.perf_counter() - begun, heard


def tell(name: str, value: float, unit: str, goal: float, *, least: bool, **detail: Any) -> None:
    """One line."""
    met = value >= goal if least else value < goal
    print(json.dumps({"name": name, "value": round(value, 1), "unit": unit, "goal": goal, "met": met, "detail": detail}))


def order_rates() -> tuple[float, int, float, float]:
    """Orders per second on a fresh exchange, how many were filled, the server's own time for one of them in microseconds, and what ccxt reaches on it."""
    with tempfile.TemporaryDirectory() as folder, exchange("--seed", "7", "--symbols", "BTC/USDT", "--state", folder, *PLENTY) as greeting:
        pin(greeting["pid"])
        server = psutil.Process(greeting["pid"])
        before = sum(server.cpu_times()[:2])
        rate, filled = asyncio.run(raw_rate(greeting))
        own = (sum(server.cpu_times()[:2]) - before) / ORDERS * 1e6
        return rate, filled, own, ccxt_rate(greeting)


def day() -> tuple[float, int]:
    """Seconds that a day takes on a fresh exchange, and how many candles were heard."""
    symbols = [f"C{number:02d}/USDT" for number in range(SYMBOLS)]
    options = ("--symbols", ",".join(symbols), "--timeframe", "1m", "--history-bars", "1500", "--stream-bars", str(MINUTES + 10))
    with exchange("--seed", "7", *options, *PLENTY) as greeting:
        pin(greeting["pid"])
        return asyncio.run(stream_seconds(greeting, [f"{symbol.replace('/', '').lower()}@kline_1m" for symbol in symbols]))


def main() -> None:
    """Orders, then a day."""
    rates, filled, own, beside = zip(*(order_rates() for _ in range(RUNS)), strict=True)
    found = {"connections": CONNECTIONS, "orders": ORDERS, "filled": min(filled), "ccxt": round(statistics.median(beside), 1)}
    found |= {"server_us": round(statistics.median(own)), "runs": RUNS}
    tell("practice_exchange.orders", statistics.median(rates), "1/s", GOAL_ORDERS, least=True, **found, load=round(os.getloadavg()[0], 1))
    seconds, heard = zip(*(day() for _ in range(RUNS)), strict=True)
    found = {"symbols": SYMBOLS, "candles": min(heard), "runs": RUNS}
    tell("practice_exchange.day", statistics.median(seconds), "s", GOAL_STREAM_S, least=False, **found, load=round(os.getloadavg()[0], 1))


if __name__ == "__main__":
    sys.exit(main())
