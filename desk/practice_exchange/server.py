"""The wire: HTTP and websockets on loopback, one dispatch for every path. Every answer carries a header that says what this is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.errors import WireError, unknown_path
from desk.practice_exchange.dialects.binance.linear import Linear
from desk.practice_exchange.dialects.binance.linear_keys import ListenKeys
from desk.practice_exchange.dialects.binance.linear_streams import LinearStreams
from desk.practice_exchange.dialects.binance.market import Market
from desk.practice_exchange.dialects.binance.rest import Rest
from desk.practice_exchange.dialects.binance.routes import Json, Route
from desk.practice_exchange.dialects.binance.signing import Gatekeeper, Signed
from desk.practice_exchange.dialects.binance.streams import Hub
from desk.practice_exchange.dialects.binance.weights import WeightCounter
from desk.practice_exchange.distortions import Distorter, distorted, distorted_message
from desk.practice_exchange.disturbances import Disturbances
from desk.practice_exchange.encoding import encoded
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.faults import Fault, FaultKind, Faults, Request
from desk.practice_exchange.lag import ACCOUNT_PATH, Lag
from desk.practice_exchange.line import Connection, Line
from desk.practice_exchange.perpetual import Perpetuals

HOST = "127.0.0.1"
BANNER = {"X-Practice-Exchange": "1"}
JSON_HEADERS = {"Content-Type": "application/json; charset=utf-8"}
STREAM_PATH, MESSAGE_PATH = "/stream/ws", "/ws-api/v3"

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
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "orderList.place.oco": ("POST", "/api/v3/orderList/oco"),
    "orderList.status": ("GET", "/api/v3/orderList"),
    "orderList.cancel": ("DELETE", "/api/v3/orderList"),
    "openOrderLists.status": ("GET", "/api/v3/openOrderList"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "myTrades": ("GET", "/api/v3/myTrades"),
    "account.status": ("GET", "/api/v3/account"),
}


class Wire:
    """Serves one exchange in Binance's dialect."""

    def __init__(self, exchange: Exchange, credentials: tuple[str, str], clock: WireClock, weight_limit: int) -> None:
        market = Market(exchange)
        self.faults = Faults()
        self.hub = Hub(exchange, market, Line(self.faults))
        self.clock = clock
        self._exchange = exchange
        self._gate = Gatekeeper(*credentials, clock, exchange.terms.keys)
        self.counter = WeightCounter(weight_limit, clock)
        self._rest = Rest(exchange, market, self.counter)
        self._market = market
        self.contracts: LinearStreams | None = None
        self.disturbances = Disturbances(exchange, self.hub.line, self._gate, self.counter, clock)
        self.disturbances.end_user_streams = self._end_user_streams
        self.hub.line.begin = self.disturbances.begin
        self._distorter = Distorter(self.disturbances.begin)
        self._tasks: set[asyncio.Task[None]] = set()

    def add_contracts(self, perpetuals: Perpetuals) -> None:
        """Serve perpetual contracts beside spot: once the spot side has told of a boundary, they settle it."""
        self.contracts = LinearStreams(perpetuals, self._market, ListenKeys(self.clock), self.hub)
        self._rest.routes.update(Linear(perpetuals, self._rest, self.contracts.keys, self.counter.limit).routes)
        perpetuals.follow(self._exchange)

    def application(self) -> web.Application:
        """The paths."""
        app = web.Application()
        app.on_response_prepare.append(_mark)
        if self.contracts is not None:
            self.contracts.attach(app)
        for path in (STREAM_PATH, STREAM_PATH + "/{number}", MESSAGE_PATH):
            app.router.add_get(path, self._messages if path == MESSAGE_PATH else self._streams)
        app.router.add_route("*", "/{path:.*}", self._ask)
        app.on_shutdown.append(self._close)
        return app

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode("utf-8", "replace")
        path, _, query = request.raw_path.partition("?")
        given = _parameters(f"{query}&{body}")
        if (request.method, path) == MESSAGES["order.place"]:
            self.hub.stopwatch.mark("order", given.get("newClientOrderId", ""))
        signed = Signed(query, body, request.headers.get("X-MBX-APIKEY"))
        fault = self.faults.due(Request(request.method, path, given.get("symbol")))
        ask = partial(self._answered_request, request.method, path, given, signed)
        if fault is None:
            answer = ask()
            self._distorter.passed()
            return answer
        done = await self._distorter.outcome(fault, partial(ask, self.disturbances.lag if fault.kind is FaultKind.LAG_READS else None))
        return await distorted(request, fault, done or self._reply("{}"))

    def _answered_request(self, method: str, path: str, given: dict[str, str], signed: Signed, lag: Lag | None = None) -> web.Response:
        try:
            route = self._rest.routes.get((method, path))
            if route is None:
                raise unknown_path(method, path)
            answer = self._answer(route, given, lambda: self._gate.check(signed, given))
            if lag is not None:
                answer = lag.answer(method, path, answer)
        except WireError as error:
            return self._reply(encoded(error.body), error.status, error.headers)
        return self._reply(answer if isinstance(answer, Json) else encoded(answer))

    def _answer(self, route: Route, given: dict[str, str], check: Callable[[], None]) -> Any:
        """Charge, check, then ask the handler."""
        self.counter.charge(route.weight(given), self._exchange.now_ms())
        if route.signed:
            check()
        return route.handler(given)

    def _reply(self, text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        weight = str(self.counter.used)
        used = {"X-MBX-USED-WEIGHT": weight, "X-MBX-USED-WEIGHT-1M": weight, "X-MBX-ORDER-COUNT-10S": str(self.counter.orders)}
        return web.Response(body=text.encode(), status=status, headers={**JSON_HEADERS, **used, **(headers or {})})

    async def _streams(self, request: web.Request) -> web.WebSocketResponse:
        return await self._converse(request, self._on_stream_message)

    async def _messages(self, request: web.Request) -> web.WebSocketResponse:
        return await self._converse(request, self._on_api_message)

    async def _converse(self, request: web.Request, answer: Callable[[Connection, dict[str, Any]], Any]) -> web.WebSocketResponse:
        """Hold a connection and answer what it asks."""
        try:
            return await self.hub.line.hold(request, self.hub.join, partial(self._answered, answer))
        finally:
            self.hub.forget()

    def _answered(self, answer: Callable[[Connection, dict[str, Any]], Any], connection: Connection, text: str) -> Any:
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
        """One question of the websocket API, answered with its status; None when a fault has the answer."""
        parameters, name = message.get("params"), str(message["method"])
        given = {each: _text(value) for each, value in parameters.items()} if isinstance(parameters, dict) else {}
        method, path = MESSAGES.get(name, ("", MESSAGE_PATH))
        fault = self.faults.due(Request(method, path, given.get("symbol"), name))
        ask = partial(self._api_answer, connection, message, given)
        if fault is not None:
            task = asyncio.create_task(self._distort_message(connection, fault, ask, message.get("id")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return None
        answer = ask()
        self._distorter.passed()
        return answer

    async def _distort_message(self, connection: Connection, fault: Fault, ask: Callable[..., dict[str, Any]], number: object) -> None:
        done = await self._distorter.outcome(fault, partial(ask, self.disturbances.lag if fault.kind is FaultKind.LAG_READS else None))
        distorted_message(connection, fault, done or {"id": number})

    def _api_answer(self, connection: Connection, message: dict[str, Any], given: dict[str, str], lag: Lag | None = None) -> dict[str, Any]:
        name = str(message["method"])
        try:
            result = self._api_result(connection, name, given)
            if lag is not None and name in MESSAGES:
                result = lag.answer(*MESSAGES[name], result)
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
        return [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.counter.limit, "count": self.counter.used}]

    async def close_streams(self) -> None:
        """Close every connection, as an exchange does once a day."""
        await self.hub.line.close_all()

    def plan(self, fault: Fault) -> int:
        """Let a fault wait, or strike at once; returns its number. Raises BadFault for one about something that is not here."""
        self.disturbances.check(fault)
        number = self.faults.plan(fault)
        if fault.kind is FaultKind.LAG_READS:
            self.disturbances.remember(self._rest.routes["GET", ACCOUNT_PATH])
        if fault.at_once:
            self.disturbances.begin(fault)
        return number

    def clear(self) -> None:
        """Forget every fault, and mend what they changed."""
        self.faults.clear()
        self.disturbances.mend()
        self._distorter.lift()
        self.hub.frozen = False

    def _end_user_streams(self) -> None:
        self.hub.end_user_streams()
        if self.contracts is not None:
            self.contracts.end_user_streams()

    async def _close(self, app: web.Application) -> None:
        await self.close_streams()


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(BANNER)


def _parameters(text: str) -> dict[str, str]:
    """What a query and a form say."""
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    # Nothing is escaped in most orders, and splitting is several times faster.
    return {name: value for name, _, value in (pair.partition("=") for pair in text.split("&") if pair)}


def _text(value: Any) -> str:
    """A websocket parameter as it was signed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
