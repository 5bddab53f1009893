"""What a websocket says becomes a bar only when it can be one, and is compared with REST beside the session."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import ccxt.pro
import pytest

from configs.vocabulary import Timeframe
from desk.events import Bar
from desk.execution.ccxt_settings import constructor_config
from desk.market.candle_stream import CandleStream, Diverged, Heard, Joined, Odd, difference, final_bar

T0 = datetime(2024, 1, 1, tzinfo=UTC)
T0_MS = int(T0.timestamp() * 1000)
HOUR_MS = 3_600_000
NAMES = {"AUSDT": "A/USDT"}
BAR = Bar("A/USDT", Timeframe.H1, T0, 10.0, 12.0, 9.0, 11.0, 5.0)


def frame(**changes: Any) -> dict[str, Any]:
    """The frame that closes `BAR`, with changes: `E` of the event, all else of its candle."""
    candle = {"t": T0_MS, "s": "AUSDT", "i": "1h", "x": True, "o": "10.0", "h": "12.0", "l": "9.0", "c": "11.0", "v": "5.0"}
    return {"e": "kline", "E": changes.pop("E", T0_MS + HOUR_MS), "s": "AUSDT", "k": candle | changes}


class Exchange:
    """A ccxt.pro exchange that says `frames` once it is subscribed to, and has `rows` over REST."""

    def __init__(self, frames: list[dict[str, Any]], rows: list[list[float]]) -> None:
        self.frames, self.rows = frames, rows
        self.handle_ohlcv: Callable[..., None] = lambda client, message: None
        self.handle_subscription_status: Callable[..., None] = lambda client, message: None

    async def load_markets(self) -> None:
        return None

    def market(self, symbol: str) -> dict[str, str]:
        return {"id": symbol.replace("/", "")}

    async def watch_ohlcv_for_symbols(self, pairs: list[list[str]]) -> None:
        self.handle_subscription_status(None, {})
        for message in self.frames:
            self.handle_ohlcv(None, message)
        await asyncio.Event().wait()

    async def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
        return [row for row in self.rows if row[0] >= since][:limit]

    async def close_ws_clients(self) -> None:
        return None

    async def close(self) -> None:
        return None


def test_the_frame_that_closes_a_bar_is_that_bar() -> None:
    assert final_bar(frame(), NAMES, Timeframe.H1) == BAR


@pytest.mark.parametrize("changes", [{"x": False}, {"x": "true"}, {"s": "BUSDT"}, {"i": "1m"}])
def test_forming_and_foreign_candles_are_no_bars(changes: dict[str, Any]) -> None:
    assert final_bar(frame(**changes), NAMES, Timeframe.H1) is None


@pytest.mark.parametrize("changes", [{"E": T0_MS + HOUR_MS // 2}, {"t": T0_MS + 1}, {"h": "8"}, {"l": "0"}, {"c": "nan"}, {"v": "-1"}, {"o": "x"}])
def test_a_final_candle_that_cannot_be_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"A/USDT|could not convert"):
        final_bar(frame(**changes), NAMES, Timeframe.H1)


def test_bars_that_rest_has_too_do_not_differ() -> None:
    assert not difference([BAR], [[T0_MS, 10.0, 12.0, 9.0, 11.0, 5.0], [T0_MS + HOUR_MS, 1.0, 1.0, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize("rows", [[], [[T0_MS, 10.0, 12.0, 9.0, 11.0, 5.1]]])
def test_a_bar_that_rest_tells_otherwise_or_not_at_all_is_named(rows: list[list[float]]) -> None:
    assert "A/USDT opened 2024-01-01T00:00:00+00:00: REST has" in difference([BAR], rows)


def test_what_was_said_is_taken_in_order_and_a_frame_that_is_no_candle_is_odd() -> None:
    with CandleStream(lambda: Exchange([frame(), frame(c="nan"), {"e": "kline"}], []), ["A/USDT"], Timeframe.H1) as stream:
        said = [stream.take(5.0) for _ in range(4)]
        more = stream.take(0.0)

    assert [Joined, Heard, Odd, Odd] == [type(each) for each in said]
    assert more is None


@pytest.mark.parametrize(("volume", "diverges"), [(5.0, False), (5.5, True)])
def test_the_audit_finds_a_bar_that_rest_tells_otherwise(volume: float, diverges: bool) -> None:
    exchange = Exchange([frame()], [[T0_MS, 10.0, 12.0, 9.0, 11.0, volume]])

    with CandleStream(lambda: exchange, ["A/USDT"], Timeframe.H1, audit_every_s=0.02) as stream:
        said = [stream.take(5.0), stream.take(5.0), stream.take(0.3)]

    assert diverges == isinstance(said[-1], Diverged)


class Cable:
    """A TCP proxy to `port` whose present connections can be frozen: they stay open and carry nothing more, as a half-open line does."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._frozen = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def freeze(self) -> None:
        """Carry nothing more on the connections that are open now."""
        self._frozen.set()
        self._frozen = threading.Event()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(*pair, self._frozen), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not frozen.is_set():
                    target.sendall(data)


@pytest.mark.timeout(60)
def test_a_half_open_line_is_noticed_by_its_pings_and_joined_again_with_one_subscription(practice_exchange: Callable[..., dict[str, Any]]) -> None:
    """A real exchange on which nothing happens, and a real socket that dies without a word: two missed pongs, another connection."""
    greeting = practice_exchange("--seed", "3", "--symbols", "A/USDT,B/USDT,C/USDT", "--history-bars", "250", "--stream-bars", "20")
    cable = Cable(int(greeting["ws"].rpartition(":")[2]))
    config = constructor_config(greeting["rest"], f"ws://127.0.0.1:{cable.port}", greeting["api_key"], greeting["secret"])
    assert config["streaming"]["keepAlive"] <= 2000
    config["streaming"]["keepAlive"] = 200

    with CandleStream(lambda: ccxt.pro.binance(config), ["A/USDT", "B/USDT", "C/USDT"], Timeframe.H1) as stream:
        said = [stream.take(10.0)]
        quiet = stream.take(0.5)
        cable.freeze()
        said += [stream.take(10.0), stream.take(10.0)]
    cable.close()

    assert quiet is None
    assert [Joined(1), Joined(2)] == [said[0], said[2]]
    assert isinstance(said[1], Odd)
