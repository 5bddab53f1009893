"""The wire: HTTP and websockets on loopback, one dispatch for every path. Every answer carries a header that says what this is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.errors import WireError, unknown_path
from desk.practice_exchange.dialects.binance.market import Market
from desk.practice_exchange.dialects.binance.rest import Json, Rest, Route
from desk.practice_exchange.dialects.binance.signing import Gatekeeper, Signed
from desk.practice_exchange.dialects.binance.streams import Connection, Hub
from desk.practice_exchange.dialects.binance.weights import WeightCounter
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.faults import Fault, FaultKind, Faults

HOST = "127.0.0.1"
BANNER = {"X-Practice-Exchange": "1"}
STREAM_PATH, MESSAGE_PATH = "/stream/ws", "/ws-api/v3"
FRAME_LIMIT = 1 << 20
CLOSE_TIMEOUT_S = 1.0
PAGE = "<html><body><h1>Something is in the way</h1></body></html>"

# Websocket methods that ask what a REST path answers.
MESSAGES = {
    "ping": ("GET", "/api/v3/ping"),
    "time": ("GET", "/api/v3/time"),
    "exchangeInfo": ("GET", "/api/v3/exchangeInfo"),
    "order.place": ("POST", "/api/v3/order"),
    "order.test": ("POST", "/api/v3/order/test"),
    "order.status": ("GET", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "openOrders.status": ("GET", "/api/v3/openOrders"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "myTrades": ("GET", "/api/v3/myTrades"),
    "account.status": ("GET", "/api/v3/account"),
}


class Wire:
    """Serves one exchange in Binance's dialect."""

    def __init__(self, exchange: Exchange, credentials: tuple[str, str], clock: WireClock, weight_limit: int) -> None:
        market = Market(exchange)
        self.hub = Hub(exchange, market)
        self.faults = Faults()
        self.clock = clock
        self._exchange = exchange
        self._gate = Gatekeeper(*credentials, clock)
        self._weights = WeightCounter(weight_limit, clock)
        self._rest = Rest(exchange, market, weight_limit)

    def application(self) -> web.Application:
        """The paths."""
        app = web.Application()
        app.on_response_prepare.append(_mark)
        for path in (STREAM_PATH, STREAM_PATH + "/{number}", MESSAGE_PATH):
            app.router.add_get(path, self._messages if path == MESSAGE_PATH else self._streams)
        app.router.add_route("*", "/{path:.*}", self._ask)
        app.on_shutdown.append(self._close)
        return app

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode("utf-8", "replace")
        path, _, query = request.raw_path.partition("?")
        given = dict(parse_qsl(f"{query}&{body}", keep_blank_values=True))
        signed = Signed(query, body, request.headers.get("X-MBX-APIKEY"))
        fault = self.faults.due(request.method, path, given.get("symbol"))
        if fault is not None and fault.before and fault.kind is not FaultKind.DELAY:
            return await self._distorted(request, fault, self._reply("{}"))
        if fault is not None and fault.before:
            # A request that is late on its way: it is judged when it arrives.
            await asyncio.sleep(fault.seconds)
            fault = None
        answer = self._answered_request(request.method, path, given, signed)
        return answer if fault is None else await self._distorted(request, fault, answer)

    def _answered_request(self, method: str, path: str, given: dict[str, str], signed: Signed) -> web.Response:
        try:
            route = self._rest.routes.get((method, path))
            if route is None:
                raise unknown_path(method, path)
            answer = self._answer(route, given, lambda: self._gate.check(signed, given))
        except WireError as error:
            return self._reply(json.dumps(error.body, separators=(",", ":")), error.status, error.headers)
        return self._reply(answer if isinstance(answer, Json) else json.dumps(answer, separators=(",", ":")))

    async def _distorted(self, request: web.Request, fault: Fault, answer: web.Response) -> web.StreamResponse:
        """What the client gets instead of the answer."""
        match fault.kind:
            case FaultKind.ERROR:
                return self._reply(json.dumps({"code": fault.code, "msg": fault.msg}), fault.status)
            case FaultKind.HTTP:
                return web.Response(text=PAGE, status=fault.status, content_type="text/html")
            case FaultKind.EMPTY:
                return web.Response(status=fault.status)
            case FaultKind.DELAY:
                await asyncio.sleep(fault.seconds)
                return answer
            case FaultKind.TRUNCATE:
                text = answer.body if isinstance(answer.body, bytes) else b"{}"
                half = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
                await half.prepare(request)
                await half.write(text[: len(text) // 2])
        # DROP, and the rest of TRUNCATE
        if request.transport is not None:
            request.transport.close()
        return answer

    def _answer(self, route: Route, given: dict[str, str], check: Callable[[], None]) -> Any:
        """Charge, check, then ask the handler."""
        self._weights.charge(route.weight(given), self._exchange.now_ms())
        if route.signed:
            check()
        return route.handler(given)

    def _reply(self, text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        used = {"X-MBX-USED-WEIGHT": str(self._weights.used), "X-MBX-USED-WEIGHT-1M": str(self._weights.used)}
        return web.Response(text=text, status=status, content_type="application/json", headers={**used, **(headers or {})})

    async def _streams(self, request: web.Request) -> web.WebSocketResponse:
        return await self._converse(request, self._on_stream_message)

    async def _messages(self, request: web.Request) -> web.WebSocketResponse:
        return await self._converse(request, self._on_api_message)

    async def _converse(self, request: web.Request, answer: Callable[[Connection, dict[str, Any]], Any]) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=FRAME_LIMIT, timeout=CLOSE_TIMEOUT_S)
        await socket.prepare(request)
        connection = Connection(socket)
        self.hub.join(connection)
        writer = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    connection.send(self._answered(connection, message.data, answer))
        finally:
            self.hub.leave(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def _answered(self, connection: Connection, text: str, answer: Callable[[Connection, dict[str, Any]], Any]) -> Any:
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict) or "method" not in message:
            return {"id": None, "status": 400, "error": {"code": -1000, "msg": "Invalid JSON: expected an object with a method."}}
        return answer(connection, message)

    def _on_stream_message(self, connection: Connection, message: dict[str, Any]) -> Any:
        """SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        number, method, streams = message.get("id"), message["method"], message.get("params") or []
        if not isinstance(streams, list):
            streams = [streams]
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(connection.streams), "id": number}
        unknown = [stream for stream in streams if not self.hub.knows(stream)]
        if unknown or method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return {"error": {"code": 2, "msg": f"Invalid request: unknown {'stream ' + unknown[0] if unknown else 'method ' + str(method)}"}, "id": number}
        if method == "SUBSCRIBE":
            self.hub.subscribe(connection, streams)
        else:
            connection.streams.difference_update(streams)
        return {"result": None, "id": number}

    def _on_api_message(self, connection: Connection, message: dict[str, Any]) -> Any:
        """One question of the websocket API, answered with its status."""
        parameters = message.get("params")
        given = {name: _text(value) for name, value in parameters.items()} if isinstance(parameters, dict) else {}
        try:
            result = self._api_result(connection, str(message["method"]), given)
        except WireError as error:
            return {"id": message.get("id"), "status": error.status, "error": error.body, "rateLimits": self._rate_limits()}
        return {"id": message.get("id"), "status": 200, "result": result, "rateLimits": self._rate_limits()}

    def _api_result(self, connection: Connection, method: str, given: dict[str, str]) -> Any:
        if method == "userDataStream.subscribe.signature":
            self._gate.check_message(given)
            return {"subscriptionId": self.hub.subscribe_user(connection)}
        if method == "userDataStream.unsubscribe":
            connection.user = None
            return {}
        if method not in MESSAGES:
            raise WireError(-1000, f"Unknown method {method}.")
        return self._answer(self._rest.routes[MESSAGES[method]], given, lambda: self._gate.check_message(given))

    def _rate_limits(self) -> list[dict[str, object]]:
        return [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._weights.limit, "count": self._weights.used}]

    async def _close(self, app: web.Application) -> None:
        await self.hub.close_all()


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(BANNER)


def _text(value: Any) -> str:
    """A websocket parameter as it was signed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
