"""The counter's own side of the account: deposits, withdrawals, rights, keys and limits, set from outside the wire."""

from __future__ import annotations

import secrets
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from desk.practice_exchange.dialects.binance.signing import public_key
from desk.practice_exchange.dialects.binance.weights import WeightCounter
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.orders import row_of
from desk.practice_exchange.refusals import InsufficientBalance
from desk.practice_exchange.terms import Terms

KEY_BYTES = 32
LIMITS = ("weight", "orders")


class AccountDesk:
    """Admin routes about one account."""

    def __init__(self, exchange: Exchange, counter: WeightCounter) -> None:
        self._exchange = exchange
        self._counter = counter

    def enter(self, app: web.Application) -> None:
        """Add the paths."""
        app.router.add_post("/deposit", self._deposit)
        app.router.add_post("/withdraw", self._withdraw)
        app.router.add_post("/terms", self._terms)
        app.router.add_post("/keys", self._register_key)
        app.router.add_post("/limits", self._limits)

    async def _deposit(self, request: web.Request) -> web.Response:
        """{"asset": "USDT", "amount": "12.5"}."""
        return await self._transfer(request, 1)

    async def _withdraw(self, request: web.Request) -> web.Response:
        """The same, out of the account; refused when less is free."""
        return await self._transfer(request, -1)

    async def _transfer(self, request: web.Request, sign: int) -> web.Response:
        body = await _body(request)
        try:
            amount = Decimal(str(body.get("amount")))
        except InvalidOperation:
            amount = Decimal("NaN")
        asset = body.get("asset")
        if not isinstance(asset, str) or not asset.isalnum() or not amount.is_finite() or amount <= 0:
            return _refused('expected {"asset": name, "amount": number > 0}')
        try:
            return web.json_response(row_of(self._exchange.transfer(asset, sign * amount)))
        except InsufficientBalance:
            return _refused(f"expected at least {amount} {asset} free, found {self._exchange.ledger.of(asset).free}")

    async def _terms(self, request: web.Request) -> web.Response:
        """{"trading": false, ...}: any of the switches of the account and its keys."""
        body = await _body(request)
        if not set(body) <= set(Terms.names()) or not all(isinstance(value, bool) for value in body.values()):
            return _refused(f"expected true or false for any of {', '.join(Terms.names())}")
        self._exchange.agree(**body)
        return web.json_response(self._exchange.terms.row())

    async def _register_key(self, request: web.Request) -> web.Response:
        """{"public_key": PEM} of an Ed25519 or RSA key; answers the API key that goes with it."""
        text = (await _body(request)).get("public_key")
        try:
            public_key(str(text))
        except ValueError as error:
            return _refused(f'expected {{"public_key": PEM}} ({error})')
        api_key = secrets.token_hex(KEY_BYTES)
        self._exchange.register_key(api_key, str(text))
        return web.json_response({"api_key": api_key})

    async def _limits(self, request: web.Request) -> web.Response:
        """{"weight": per minute, "orders": per ten seconds}; a ban ends."""
        body = await _body(request)
        if not set(body) <= set(LIMITS) or not all(type(value) is int and value > 0 for value in body.values()):
            return _refused(f"expected whole numbers > 0 for any of {', '.join(LIMITS)}")
        self._counter.limit = body.get("weight", self._counter.limit)
        self._counter.order_limit = body.get("orders", self._counter.order_limit)
        self._counter.pardon()
        return web.json_response({"weight": self._counter.limit, "orders": self._counter.order_limit})


async def _body(request: web.Request) -> dict[str, Any]:
    """A JSON object, empty when it is none."""
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refused(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
