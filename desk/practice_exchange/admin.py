"""The other side of the counter, on a port of its own: move the market, read every order, stop. Never part of what a client of an exchange sees."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from desk.practice_exchange.admin_account import AccountDesk
from desk.practice_exchange.dialects.binance.orders import order_payload, trade_payload
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.faults import fault_of
from desk.practice_exchange.server import Wire


class Admin:
    """Drives one exchange and its wire. `stopped` is set when a client asked for the end."""

    def __init__(self, exchange: Exchange, wire: Wire) -> None:
        self._exchange = exchange
        self._wire = wire
        self._moving = asyncio.Lock()
        self.stopped = asyncio.Event()

    def application(self) -> web.Application:
        """The paths."""
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/market", self._market)
        app.router.add_get("/orders", self._orders)
        app.router.add_get("/marks", self._marks)
        app.router.add_get("/contracts", self._contracts)
        app.router.add_post("/advance", self._advance)
        app.router.add_post("/shutdown", self._shutdown)
        app.router.add_post("/faults", self._plan_fault)
        app.router.add_get("/faults", self._list_faults)
        app.router.add_delete("/faults", self._clear_faults)
        app.router.add_post("/wire-clock", self._skew_wire_clock)
        AccountDesk(self._exchange, self._wire.counter).enter(app)
        app.router.add_post("/streams/{what:close|freeze|thaw}", self._disturb_streams)
        return app

    def market(self) -> dict[str, Any]:
        """What this market is and where it stands."""
        tape = self._exchange.tape
        return {
            "hash": tape.hash,
            "symbols": sorted(tape.candles),
            "timeframe": tape.timeframe.value,
            "history_until": _iso(tape.history_until_ms),
            "ends_at": _iso(tape.ends_at_ms),
            "now": _iso(self._exchange.now_ms()),
            "synthetic": tape.seed is not None,
            "seed": tape.seed,
        }

    async def advance(self, bars: int) -> int:
        """Let so many bars close, one boundary at a time, never past the end; returns how many did."""
        async with self._moving:
            for done in range(bars):
                if not self._exchange.step():
                    return done
                # Others may ask and listen between two boundaries, as they could on an exchange.
                await asyncio.sleep(0)
        return bars

    async def flow(self) -> None:
        """Let time flow at the exchange's speed, until the tape ends."""
        while not self._exchange.clock.over:
            await asyncio.sleep(self._exchange.clock.seconds_to_boundary())
            if not self._exchange.clock.seconds_to_boundary():
                await self.advance(1)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _market(self, request: web.Request) -> web.Response:
        return web.json_response(self.market())

    async def _orders(self, request: web.Request) -> web.Response:
        book = self._exchange.book
        rows = []
        for order in book.orders():
            listing = self._exchange.listing(order.symbol)
            rows.append({**order_payload(order, listing), "fills": [trade_payload(execution, listing) for execution in book.executions_of(order)]})
        return web.json_response(rows)

    async def _marks(self, request: web.Request) -> web.Response:
        """When frames left and orders came in: what event-to-order times are measured by."""
        return web.json_response(self._wire.hub.stopwatch.marks())

    async def _contracts(self, request: web.Request) -> web.Response:
        """Everything the contract side remembers, exact."""
        contracts = self._wire.contracts
        return web.json_response(text=contracts.everything() if contracts is not None else "{}")

    async def _advance(self, request: web.Request) -> web.Response:
        bars = await _whole_number(request, "bars")
        if bars is None or bars < 0:
            return web.json_response({"error": 'expected {"bars": n} with a whole number n >= 0'}, status=400)
        done = await self.advance(bars)
        return web.json_response({"now": _iso(self._exchange.now_ms()), "advanced": done})

    async def _plan_fault(self, request: web.Request) -> web.Response:
        try:
            number = self._wire.plan(fault_of(await request.json()))
        except ValueError as refusal:
            return web.json_response({"error": str(refusal)}, status=400)
        return web.json_response({"status": "planned", "id": number})

    async def _list_faults(self, request: web.Request) -> web.Response:
        """Every fault with how many occasions it saw and how many it struck."""
        return web.json_response(self._wire.faults.rows())

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._wire.clear()
        return web.json_response({"status": "clear"})

    async def _skew_wire_clock(self, request: web.Request) -> web.Response:
        """Move the clock that judges signatures: {"skew_ms": n}."""
        skew_ms = await _whole_number(request, "skew_ms")
        if skew_ms is None:
            return web.json_response({"error": 'expected {"skew_ms": n} with a whole number n'}, status=400)
        self._wire.clock.skew_ms = skew_ms
        return web.json_response({"skew_ms": skew_ms})

    async def _disturb_streams(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        if what == "close":
            await self._wire.close_streams()
        else:
            self._wire.hub.frozen = what == "freeze"
        return web.json_response({"status": what})

    async def _shutdown(self, request: web.Request) -> web.Response:
        self.stopped.set()
        return web.json_response({"status": "stopping"})


async def _whole_number(request: web.Request, name: str) -> int | None:
    """A whole number out of a JSON body, or None when there is none."""
    try:
        number = (await request.json())[name]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _iso(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).isoformat()
