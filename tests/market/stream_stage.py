"""A market and its stream made by hand: the market's clock stands until it is advanced, the stream tells what a test has it tell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import polars as pl

from configs.vocabulary import Timeframe
from desk.errors import NetworkDown
from desk.instruments import Instrument

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYMBOLS = ("A/USDT", "B/USDT")


class Market:
    """A source whose clock stands until it is advanced. `holes` are (symbol, hour) without a bar; it fails as often as `failures` says."""

    def __init__(self, hours: int, holes: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.hours = hours
        self.holes = holes
        self.failures = 0
        self.asked = 0
        self.last_hour = 10**6

    def advance(self) -> None:
        self.hours = min(self.hours + 1, self.last_hour)

    def instruments(self) -> dict[str, Instrument]:
        return {}

    def closed_until(self, timeframe: Timeframe) -> datetime:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise NetworkDown("the line is down")
        return T0 + self.hours * HOUR

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        first, last = max((since - T0) // HOUR, 0), min((until - T0) // HOUR, self.hours)
        hours = [hour for hour in range(first, last) if (symbol, hour) not in self.holes]
        if hours:
            times = pl.Series("open_time", [T0 + hour * HOUR for hour in hours], dtype=pl.Datetime("us", "UTC"))
            prices = [pl.Series(name, [float(hour) for hour in hours]) for name in ("open", "high", "low", "close", "volume")]
            yield pl.DataFrame({"symbol": symbol, "timeframe": timeframe.value, "open_time": times}).with_columns(prices)


class Stream:
    """A ccxt.pro exchange on which whatever the test needs happens: it tells, forever fails, or stays silent. `tell` may be called from any thread."""

    def __init__(self, behaviour: str = "tells") -> None:
        self.behaviour = behaviour
        self.closed = False
        self.connections = 0
        self.again = threading.Event()
        self.told: list[tuple[str, int]] = []
        self.handle_ohlcv: Callable[..., None] = lambda client, message: None
        self.handle_subscription_status: Callable[..., None] = lambda client, message: None

    async def load_markets(self) -> None:
        self.loop = asyncio.get_running_loop()

    def market(self, symbol: str) -> dict[str, str]:
        return {"id": symbol.replace("/", "")}

    async def watch_ohlcv_for_symbols(self, pairs: list[list[str]]) -> None:
        if self.behaviour == "fails":
            raise ccxt.NetworkError("no stream")
        if self.behaviour == "breaks":
            raise TypeError("a defect of ours")
        self.connections += 1
        self.broken = asyncio.Event()
        if self.connections > 1:
            self.again.set()
        self.handle_subscription_status(None, {"result": None})
        await self.broken.wait()
        raise ccxt.NetworkError("the line was cut")

    def tell(self, symbol: str, hour: int, *, final: bool = True, price: float | None = None, at_hour: int | None = None) -> None:
        """The candle of this hour, as a frame."""
        number = str(float(hour) if price is None else price)
        opened = int((T0 + hour * HOUR).timestamp() * 1000)
        event = opened + 3_600_000 if at_hour is None else int((T0 + at_hour * HOUR).timestamp() * 1000)
        candle = {"t": opened, "s": symbol.replace("/", ""), "i": "1h", "x": final} | dict.fromkeys("ohlcv", number)
        if self.connections:
            self.told.append((symbol, hour))
            self.loop.call_soon_threadsafe(self.handle_ohlcv, None, {"e": "kline", "E": event, "s": candle["s"], "k": candle})

    def cut(self) -> None:
        """The connection breaks."""
        self.loop.call_soon_threadsafe(self.broken.set)

    async def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
        return []

    async def close_ws_clients(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


def hours_of(events: Iterator[Any]) -> list[int]:
    return [(event.closed_at - T0) // HOUR for event in events]
