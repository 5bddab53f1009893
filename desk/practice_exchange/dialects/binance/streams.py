"""Binance spot's streams: who subscribed to what, and the frames they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from desk.practice_exchange.dialects.binance import market as shapes
from desk.practice_exchange.dialects.binance import orders
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.market import INTERVALS_MS, Market
from desk.practice_exchange.encoding import encoded
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.faults import Frame
from desk.practice_exchange.happenings import BalanceMoved, BalancesChanged, BoundaryReached, Happening, ListChanged, OrderChanged
from desk.practice_exchange.line import USER, Connection, Line
from desk.practice_exchange.stopwatch import Stopwatch

KNOWN_STREAMS = ("trade", "aggTrade", "ticker", "miniTicker", "bookTicker", "depth", "depth@100ms", "depth@1000ms")
EVENTS = {"ticker": "24hrTicker", "miniTicker": "24hrMiniTicker", "depth": "depthUpdate", "depth@100ms": "depthUpdate", "depth@1000ms": "depthUpdate"}
EVENTS |= {"depth@500ms": "depthUpdate", "markPrice": "markPriceUpdate", "markPrice@1s": "markPriceUpdate"}
Levels = dict[str, dict[Decimal, Decimal]]


class Hub:
    """Turns what happens on the exchange into frames."""

    def __init__(self, exchange: Exchange, market: Market, line: Line) -> None:
        self.line = line
        self._exchange = exchange
        self._market = market
        self._ids = {listing.id.lower(): symbol for symbol, listing in exchange.tape.listings.items()}
        self._connections: dict[Connection, None] = {}
        self._books: dict[str, Levels] = {}
        self._subscriptions = 0
        self.frozen = False
        self.stopwatch = Stopwatch()
        exchange.publish = self.tell

    def join(self, connection: Connection) -> None:
        """Take a connection in."""
        self._connections[connection] = None

    def forget(self) -> None:
        """Drop the connections that have ended."""
        self._connections = {connection: None for connection in self._connections if not connection.ended}

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

    def end_user_streams(self) -> None:
        """End every user subscription, as Binance does when a key may no longer have one."""
        for connection in self._connections:
            if connection.user is not None:
                ended: dict[str, Any] = {"e": "eventStreamTerminated", "E": self._exchange.now_ms()}
                self.line.tell(connection, Frame(USER, ended["e"], None), {"subscriptionId": connection.user, "event": ended})
                connection.user = None

    def tell(self, happening: Happening) -> None:
        """Send everybody concerned their frames; while frozen nobody hears anything, and nothing is sent later."""
        if self.frozen:
            return
        match happening:
            case BoundaryReached(now_ms):
                self.stopwatch.mark("frames", str(now_ms))
                self._tell_market()
            case _ if not any(connection.user is not None for connection in self._connections):
                return
            case OrderChanged(order, what, execution):
                listing = self._exchange.listing(order.symbol)
                self._tell_user(orders.execution_report(order, listing, what, execution, self._exchange.now_ms()))
            case ListChanged(listed, legs):
                self._tell_user(orders.list_report(listed, legs, self._exchange.listing(listed.symbol), self._exchange.now_ms()))
            case BalanceMoved(asset, amount):
                self._tell_user(orders.transfer_report(asset, amount, self._exchange.now_ms()))
            case BalancesChanged(assets):
                self._tell_user(orders.balance_report(self._exchange.ledger.accounts, assets, self._exchange.now_ms()))

    def _tell_user(self, event: dict[str, Any]) -> None:
        for connection in self._connections:
            if connection.user is not None:
                self.line.tell(connection, Frame(USER, event["e"], event.get("s")), {"subscriptionId": connection.user, "event": event})

    def _tell_market(self) -> None:
        """One set of frames per stream, however many listen to it."""
        wanted = sorted({stream for connection in self._connections for stream in connection.streams})
        frames = {stream: self._frames(stream) for stream in wanted}
        changed = {self._ids[stream.partition("@")[0]] for stream in wanted if "@depth" in stream}
        self._books = {symbol: self._market.levels(symbol) for symbol in sorted(changed)}
        for connection in self._connections:
            for stream in sorted(connection.streams):
                for frame in frames[stream]:
                    self.line.tell(connection, occasion_of(stream), frame)

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
        return [encoded(event) for event in events]

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


def occasion_of(stream: str) -> Frame:
    """The frame that a public stream carries."""
    name, _, what = stream.partition("@")
    return Frame(stream, EVENTS.get(what, "kline" if what.startswith("kline_") else what), name.upper())
