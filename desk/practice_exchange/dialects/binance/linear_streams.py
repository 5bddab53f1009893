"""Binance USD-M's streams: /fstream/{public,market}/ws for the market, /fstream/private/ws?listenKey= for the account.

Frames leave unwrapped. Public names are served on both market paths; a private connection hears of the account while its key lives.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aiohttp import web

from desk.practice_exchange.dialects.binance import linear_orders as shapes
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.linear_keys import ListenKeys
from desk.practice_exchange.dialects.binance.market import INTERVALS_MS, Market, kline_event, level_rows
from desk.practice_exchange.dialects.binance.streams import Hub, occasion_of
from desk.practice_exchange.faults import Frame
from desk.practice_exchange.funding import next_settlement
from desk.practice_exchange.line import USER, Connection
from desk.practice_exchange.perpetual import Perpetuals
from desk.practice_exchange.perpetual_book import AccountChanged, ContractBoundary, ContractHappening, ContractOrderChanged, MarginCalled, WatchChanged

PATHS = ("/fstream/public/ws", "/fstream/market/ws")
PRIVATE_PATH = "/fstream/private/ws"
NAMES = ("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth@500ms", "markPrice", "markPrice@1s")
Levels = dict[str, dict[Decimal, Decimal]]


class LinearStreams:
    """Turns what happens to contracts into frames. While the spot streams are frozen, these are too."""

    def __init__(self, perpetuals: Perpetuals, market: Market, keys: ListenKeys, spot: Hub) -> None:
        self.keys = keys
        self._spot = spot
        self._perpetuals = perpetuals
        self._account = perpetuals.account
        self._market = market
        self._ids = {listing.id.lower(): symbol for symbol, listing in self._account.listings.items()}
        self._public: dict[Connection, None] = {}
        self._private: dict[Connection, str] = {}
        self._books: dict[str, Levels] = {}
        perpetuals.publish = self.tell

    def attach(self, app: web.Application) -> None:
        """Add the paths."""
        for path in PATHS:
            app.router.add_get(path, self._serve_public)
            app.router.add_get(path + "/{number}", self._serve_public)
        for path in (PRIVATE_PATH, PRIVATE_PATH + "/{key}"):
            app.router.add_get(path, self._serve_private)

    def everything(self) -> str:
        """The whole state of the contract side as JSON, for the other side of the counter."""
        return self._perpetuals.book.everything(self._perpetuals.settled_ms).decode()

    def end_user_streams(self) -> None:
        """End the listen key, and tell those who listen by it."""
        self.keys.close()
        self._expire()

    def tell(self, happening: ContractHappening) -> None:
        """Send everybody concerned their frames."""
        self._expire()
        if self._spot.frozen:
            return
        if isinstance(happening, ContractBoundary):
            self._tell_market()
            return
        event = self._event(happening)
        for connection, key in self._private.items():
            if key == self.keys.current:
                self._spot.line.tell(connection, _occasion(event), event)

    def _event(self, happening: ContractOrderChanged | WatchChanged | AccountChanged | MarginCalled) -> dict[str, Any]:
        now, ledger = self._perpetuals.clock.milliseconds(), self._perpetuals.book.ledger
        match happening:
            case ContractOrderChanged(order):
                return shapes.order_event(happening, self._account.listing(order.symbol), now)
            case WatchChanged(watch):
                return shapes.watch_event(watch, self._account.listing(watch.symbol), now)
            case AccountChanged(reason, assets, symbols):
                settled = self._perpetuals.settled_ms
                positions = [(symbol, ledger.held(symbol)) for symbol in symbols]
                rows = [(self._account.listing(symbol), held, held.unrealised(self._account.mark(symbol, settled))) for symbol, held in positions]
                return shapes.account_event(reason, {asset: ledger.purse(asset) for asset in assets}, rows, now)
            case MarginCalled(asset):
                holdings = [(self._account.listing(holding.symbol), holding) for holding in self._perpetuals.held(asset)]
                return shapes.margin_event(ledger.purse(asset).wallet, holdings, now)

    def _expire(self) -> None:
        """Tell those whose key has ended, once, and take them off."""
        for connection, key in list(self._private.items()):
            if key != self.keys.current:
                del self._private[connection]
                connection.send({"e": "listenKeyExpired", "E": self._perpetuals.clock.milliseconds(), "listenKey": key})

    def _tell_market(self) -> None:
        """One set of frames per stream, however many listen to it."""
        wanted = sorted({stream for connection in self._public for stream in connection.streams})
        frames = {stream: self._frames(stream) for stream in wanted}
        watched = {self._ids[stream.partition("@")[0]] for stream in wanted if "@depth" in stream}
        self._books = {symbol: self._market.levels(symbol) for symbol in sorted(watched)}
        for connection in self._public:
            for stream in sorted(connection.streams):
                for frame in frames[stream]:
                    self._spot.line.tell(connection, occasion_of(stream), frame)

    def _frames(self, stream: str) -> list[str]:
        name, _, what = stream.partition("@")
        symbol = self._ids[name]
        if what.startswith("kline_"):
            events = self._klines(symbol, what.removeprefix("kline_"))
        elif what.startswith("depth"):
            events = [self._depth(symbol)]
        elif what.startswith("markPrice"):
            events = [self._mark(symbol)]
        elif what == "bookTicker":
            events = self._best(symbol)
        else:
            events = self._trades(symbol, what)
        return [json.dumps(event, separators=(",", ":")) for event in events]

    def _header(self, event: str, symbol: str) -> dict[str, Any]:
        return {"e": event, "E": self._perpetuals.settled_ms, "s": self._account.listing(symbol).id}

    def _klines(self, symbol: str, interval: str) -> list[dict[str, Any]]:
        """The bar that closed, final, then the one that is forming."""
        closed, forming = self._market.closed(symbol, interval), self._market.forming(symbol, interval)
        told = [(candles, final) for candles, final in ((closed, True), (forming, False)) if candles is not None]
        names = {"s": self._account.listing(symbol).id, "i": interval}
        step = INTERVALS_MS[interval]
        return [{**self._header("kline", symbol), "k": {**names, **kline_event(candles, step, final=final)}} for candles, final in told]

    def _trades(self, symbol: str, what: str) -> list[dict[str, Any]]:
        row = self._perpetuals.closed_row(symbol)
        prints = [] if row is None else self._market.prints(symbol, row, row + 1)
        events = []
        for each in prints:
            ids = {"t": each.id, "X": "MARKET"} if what == "trade" else {"a": each.id, "f": each.id, "l": each.id}
            numbers = {"p": fixed(each.price), "q": fixed(each.quantity), "T": each.at_ms, "m": each.buyer_made}
            events.append({**self._header(what, symbol), **ids, **numbers})
        return events

    def _depth(self, symbol: str) -> dict[str, Any]:
        """What is different from the book at the last boundary; `pu` is the number of the event before."""
        before, after = self._books.get(symbol, {"bids": {}, "asks": {}}), self._market.levels(symbol)
        changes = {}
        for side, key in (("bids", "b"), ("asks", "a")):
            gone = {price: Decimal(0) for price in before[side] if price not in after[side]}
            changes[key] = level_rows({**gone, **after[side]}, limit=len(gone) + len(after[side]))
        update = self._market.update_id()
        return {**self._header("depthUpdate", symbol), "T": self._perpetuals.settled_ms, "U": update, "u": update, "pu": update - 1, **changes}

    def _best(self, symbol: str) -> list[dict[str, Any]]:
        best = self._market.best(symbol)
        if best is None:
            return []
        (bid, bids), (ask, asks) = best
        numbers = {"b": fixed(bid), "B": fixed(bids), "a": fixed(ask), "A": fixed(asks)}
        return [{**self._header("bookTicker", symbol), "u": self._market.update_id(), "T": self._perpetuals.settled_ms, **numbers}]

    def _mark(self, symbol: str) -> dict[str, Any]:
        settled = self._perpetuals.settled_ms
        mark, following = fixed(self._account.mark(symbol, settled)), next_settlement(settled)
        rate = fixed(self._perpetuals.funding.rate(symbol, following))
        return {**self._header("markPriceUpdate", symbol), "p": mark, "i": mark, "P": mark, "r": rate, "T": following}

    async def _serve_public(self, request: web.Request) -> web.WebSocketResponse:
        return await self._converse(request, None)

    async def _serve_private(self, request: web.Request) -> web.WebSocketResponse:
        self._expire()
        key = request.match_info.get("key") or request.query.get("listenKey", "")
        if not key or key != self.keys.current:
            raise web.HTTPUnauthorized(text='{"code":-1125,"msg":"This listenKey does not exist."}', content_type="application/json")
        return await self._converse(request, key)

    async def _converse(self, request: web.Request, key: str | None) -> web.WebSocketResponse:
        """Hold a connection; a key makes it a private one."""

        def begin(connection: Connection) -> None:
            if key is None:
                self._public[connection] = None
            else:
                self._private[connection] = key
                connection.user = 0

        try:
            return await self._spot.line.hold(request, begin, self._answered)
        finally:
            self._public = {connection: None for connection in self._public if not connection.ended}
            self._private = {connection: held for connection, held in self._private.items() if not connection.ended}

    def _answered(self, connection: Connection, text: str) -> dict[str, Any]:
        """SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        try:
            message = json.loads(text)
            number, method, streams = message.get("id"), message["method"], message.get("params") or []
        except (ValueError, AttributeError, KeyError, TypeError):
            return {"error": {"code": 2, "msg": "Invalid JSON: expected an object with a method."}, "id": None}
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(connection.streams), "id": number}
        unknown = [f"stream {stream}" for stream in streams if not self._knows(stream)]
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            unknown.append(f"method {method}")
        if unknown:
            return {"error": {"code": 2, "msg": f"Invalid request: unknown {unknown[0]}"}, "id": number}
        if method == "UNSUBSCRIBE":
            connection.streams.difference_update(streams)
            return {"result": None, "id": number}
        for stream in streams:
            connection.streams.add(stream)
            symbol = self._ids[stream.partition("@")[0]]
            # Changes of the book are told against what it is now.
            if "@depth" in stream and symbol not in self._books:
                self._books[symbol] = self._market.levels(symbol)
        return {"result": None, "id": number}

    def _knows(self, stream: object) -> bool:
        if not isinstance(stream, str):
            return False
        name, _, what = stream.partition("@")
        if name not in self._ids:
            return False
        return self._market.serves(what.removeprefix("kline_")) if what.startswith("kline_") else what in NAMES


def _occasion(event: dict[str, Any]) -> Frame:
    """What a frame of the account tells of."""
    return Frame(USER, event["e"], event.get("o", {}).get("s"))
