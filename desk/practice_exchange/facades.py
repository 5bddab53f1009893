"""Other exchanges' faces on the same market: public market data only, each on a port of its own, so that a source has somewhere to turn to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from desk.practice_exchange.dialects.binance.market import Market
from desk.practice_exchange.dialects.coinbase.market import Coinbase
from desk.practice_exchange.dialects.kraken.market import Kraken
from desk.practice_exchange.encoding import encoded
from desk.practice_exchange.exchange import Exchange


class Facade(Protocol):
    """An exchange's public REST, read only."""

    def answer(self, path: str, given: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body for a path and its query."""


FACADES: dict[str, Callable[[Exchange, Market], Facade]] = {"kraken": Kraken, "coinbase": Coinbase}


def application(name: str, exchange: Exchange) -> web.Application:
    """What answers for the exchange of this name."""
    facade = FACADES[name](exchange, Market(exchange))

    async def ask(request: web.Request) -> web.Response:
        status, body = facade.answer(request.path, request.query)
        return web.Response(text=encoded(body), status=status, content_type="application/json", headers={"X-Practice-Exchange": "1"})

    app = web.Application()
    app.router.add_get("/{path:.*}", ask)
    return app
