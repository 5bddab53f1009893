"""Binance spot's streams: who subscribed to what, and the frames they are sent.

Every connection has a queue and a writer of its own, so that a client that does not read cannot hold the market up; one that falls too far
behind is closed, as on Binance.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import WSCloseCode, web

from desk.practice_exchange.dialects.binance import market as shapes
from desk.practice_exchange.dialects.binance import orders
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.market import INTERVALS_MS, Market
from desk.practice_exchange.exchange import BalancesChanged, BoundaryReached, Exchange, Happening, OrderChanged

QUEUE_FRAMES = 20_000
KNOWN_STREAMS = ("trade", "aggTrade", "ticker", "miniTicker", "bookTicker", "depth", "depth@100ms", "depth@1000ms")
Levels = dict[str, dict[Decimal, Decimal]]


@dataclass(eq=False, slots=True)
class Connection:
    """One websocket: its names of public streams, and the number of its user subscription."""

    socket: web.WebSocketResponse
    streams: set[str] = field(default_factory=set)
    user: int | None = None
    frames: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE_FRAMES))
    lost: bool = False

    def send(self, frame: Any) -> None:
        """Queue a frame; a full queue loses the connection, never a frame in its middle."""
        try:
            self.frames.put_nowait(frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":")))
        except asyncio.QueueFull:
            self.lost = True

    async def write(self) -> None:
        """Send what is queued, in order, until the socket is gone."""
        while not self.socket.closed:
            frame = await self.frames.get()
            if self.lost:
                await self.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too slow")
                return
            try:
                await self.socket.send_str(frame)
            except ConnectionError:
                return


class Hub:
    """Turns what happens on the exchange into frames."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        self._exchange = exchange
        self._market = market
        self._ids = {listing.id.lower(): symbol for symbol, listing in exchange.tape.listings.items()}
        self._connections: set[Connection] = set()
        self._books: dict[str, Levels] = {}
        self._subscriptions = 0
        self.frozen = False
        exchange.publish = self.tell

    def join(self, connection: Connection) -> None:
        """Take a connection in."""
        self._connections.add(connection)

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    async def close_all(self) -> None:
        """Close every connection, as an exchange does once a day."""
        await asyncio.gather(*(connection.socket.close() for connection in list(self._connections)))

    def knows(self, stream: object) -> bool:
        """Whether this name can ever carry anything."""
        if not isinstance(stream, str):
            return False
        name, _, what = stream.partition("@")
        if name not in self._ids:
            return False
        if what.startswith("kline_"):
            return self._market.serves(what.removeprefix("kline_"))
        return what in KNOWN_STREAMS

    def subscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        """Add public streams to a connection."""
        for stream in streams:
            connection.streams.add(stream)
            symbol = self._ids[stream.partition("@")[0]]
            # Changes of the book are told against what it is now.
            if "@depth" in stream and symbol not in self._books:
                self._books[symbol] = self._market.levels(symbol)

    def subscribe_user(self, connection: Connection) -> int:
        """Let a connection hear of the account; returns the subscription's number."""
        if connection.user is None:
            connection.user = self._subscriptions
            self._subscriptions += 1
        return connection.user

    def tell(self, happening: Happening) -> None:
        """Send everybody concerned their frames; while frozen nobody hears anything, and nothing is sent later."""
        if self.frozen:
            return
        match happening:
            case BoundaryReached():
                self._tell_market()
            case OrderChanged(order, what, execution):
                listing = self._exchange.listing(order.symbol)
                self._tell_user(orders.execution_report(order, listing, what, execution, self._exchange.now_ms()))
            case BalancesChanged(assets):
                self._tell_user(orders.balance_report(self._exchange.ledger.accounts, assets, self._exchange.now_ms()))

    def _tell_user(self, event: dict[str, Any]) -> None:
        for connection in self._connections:
            if connection.user is not None:
                connection.send({"subscriptionId": connection.user, "event": event})

    def _tell_market(self) -> None:
        """One set of frames per stream, however many listen to it."""
        wanted = sorted({stream for connection in self._connections for stream in connection.streams})
        frames = {stream: self._frames(stream) for stream in wanted}
        changed = {self._ids[stream.partition("@")[0]] for stream in wanted if "@depth" in stream}
        self._books = {symbol: self._market.levels(symbol) for symbol in sorted(changed)}
        for connection in self._connections:
            for stream in sorted(connection.streams):
                for frame in frames[stream]:
                    connection.send(frame)

    def _frames(self, stream: str) -> list[str]:
        name, _, what = stream.partition("@")
        symbol = self._ids[name]
        if what.startswith("kline_"):
            events = self._kline_events(symbol, what.removeprefix("kline_"))
        elif what.startswith("depth"):
            events = [self._depth_event(symbol)]
        elif what == "ticker":
            events = [self._ticker_event(symbol)]
        elif what == "miniTicker":
            events = [self._mini_ticker_event(symbol)]
        elif what == "bookTicker":
            events = self._best_events(symbol)
        else:
            events = self._trade_events(symbol, what)
        return [json.dumps(event, separators=(",", ":")) for event in events]

    def _header(self, event: str, symbol: str) -> dict[str, Any]:
        return {"e": event, "E": self._exchange.clock.settled_ms, "s": self._exchange.listing(symbol).id}

    def _kline_events(self, symbol: str, interval: str) -> list[dict[str, Any]]:
        """The bar that closed, final, then the one that is forming; a symbol without a bar is silent."""
        step = INTERVALS_MS[interval]
        closed, forming = self._market.closed(symbol, interval), self._market.forming(symbol, interval)
        tape_candles, boundary = self._exchange.tape.candles[symbol], self._exchange.clock.settled_ms
        moved = tape_candles.at(boundary) is not None or tape_candles.at(boundary - self._exchange.clock.step_ms) is not None
        told = [(closed, True)] if closed is not None else []
        told += [(forming, False)] if forming is not None and moved else []
        names = {"s": self._exchange.listing(symbol).id, "i": interval}
        return [{**self._header("kline", symbol), "k": {**names, **shapes.kline_event(candles, step, final=final)}} for candles, final in told]

    def _trade_events(self, symbol: str, what: str) -> list[dict[str, Any]]:
        candles = self._exchange.tape.candles[symbol]
        row = candles.at(self._exchange.clock.settled_ms - self._exchange.clock.step_ms)
        prints = [] if row is None else self._market.prints(symbol, row, row + 1)
        events = []
        for each in prints:
            ids = {"t": each.id} if what == "trade" else {"a": each.id, "f": each.id, "l": each.id}
            numbers = {"p": fixed(each.price), "q": fixed(each.quantity), "T": each.at_ms, "m": each.buyer_made, "M": True}
            events.append({**self._header(what, symbol), **ids, **numbers})
        return events

    def _depth_event(self, symbol: str) -> dict[str, Any]:
        """What is different from the book at the last boundary: a level that is gone has quantity 0."""
        before, after = self._books.get(symbol, {"bids": {}, "asks": {}}), self._market.levels(symbol)
        changes = {}
        for side, key in (("bids", "b"), ("asks", "a")):
            gone = {price: Decimal(0) for price in before[side] if price not in after[side]}
            changes[key] = shapes.level_rows({**gone, **after[side]}, limit=len(gone) + len(after[side]))
        update = self._market.update_id()
        return {**self._header("depthUpdate", symbol), "U": update, "u": update, **changes}

    def _best_events(self, symbol: str) -> list[dict[str, Any]]:
        best = self._market.best(symbol)
        if best is None:
            return []
        (bid, bids), (ask, asks) = best
        names = {"u": self._market.update_id(), "s": self._exchange.listing(symbol).id}
        return [{**names, "b": fixed(bid), "B": fixed(bids), "a": fixed(ask), "A": fixed(asks)}]

    def _ticker_event(self, symbol: str) -> dict[str, Any]:
        day = self._market.day(symbol)
        change = day["last"] - day["open"]
        prices = {"p": change, "w": day["average"], "x": day["previous"], "c": day["last"], "Q": 0.0}
        best = {"b": day["bid"][0], "B": day["bid"][1], "a": day["ask"][0], "A": day["ask"][1]}
        range_ = {"o": day["open"], "h": day["high"], "l": day["low"], "v": day["volume"], "q": day["worth"]}
        amounts = {name: fixed(number) for name, number in {**prices, **best, **range_}.items()}
        times = {"O": day["opened_ms"], "C": day["closed_ms"], "F": day["first_id"], "L": day["last_id"], "n": day["count"]}
        return {**self._header("24hrTicker", symbol), **amounts, "P": f"{100 * change / day['open']:.3f}", **times}

    def _mini_ticker_event(self, symbol: str) -> dict[str, Any]:
        day = self._market.day(symbol)
        amounts = {"c": day["last"], "o": day["open"], "h": day["high"], "l": day["low"], "v": day["volume"], "q": day["worth"]}
        return {**self._header("24hrMiniTicker", symbol), **{name: fixed(number) for name, number in amounts.items()}}
