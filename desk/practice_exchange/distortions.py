"""What becomes of a request that a fault strikes: whether and when the exchange does it, and what the client gets instead of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import WSCloseCode, web

from desk.practice_exchange.faults import STATES, Fault, FaultKind
from desk.practice_exchange.line import Connection

PAGE = "<html><body><h1>Something is in the way</h1></body></html>"
MAINTENANCE = json.dumps({"code": -1, "msg": "System is under maintenance."})
UNDONE = frozenset((FaultKind.ERROR, FaultKind.HTTP, FaultKind.HTML, FaultKind.EMPTY, FaultKind.DROP, FaultKind.TRUNCATE, FaultKind.HANG))
Answer = TypeVar("Answer")


class Distorter:
    """Carries out faults on requests. `begin` changes the state that a fault is about."""

    def __init__(self, begin: Callable[[Fault], None]) -> None:
        self._begin = begin
        self._lifted = asyncio.Event()
        self._overtaken: list[asyncio.Event] = []

    def lift(self) -> None:
        """Let go of what hangs."""
        self._lifted.set()
        self._lifted = asyncio.Event()
        self.passed()

    def passed(self) -> None:
        """A request was done: those that wait to be overtaken go on."""
        while self._overtaken:
            self._overtaken.pop().set()

    async def outcome(self, fault: Fault, ask: Callable[[], Answer]) -> Answer | None:
        """Let the exchange do what it is asked, as the fault has it; None when it does nothing."""
        if fault.kind is FaultKind.MAINTENANCE or (fault.before and fault.kind in UNDONE):
            answer = None
        elif fault.kind in STATES:
            answer = self._changed(fault, ask)
        elif fault.kind is FaultKind.DELAY and fault.before:
            await asyncio.sleep(fault.lasts_s)
            return ask()
        elif fault.kind is FaultKind.REORDER:
            return await self._late(fault, ask)
        else:
            answer = ask()
        await self._wait(fault)
        return answer if fault.kind is not FaultKind.DUPLICATE else ask()

    def _changed(self, fault: Fault, ask: Callable[[], Answer]) -> Answer:
        if fault.before:
            self._begin(fault)
            return ask()
        answer = ask()
        self._begin(fault)
        return answer

    async def _late(self, fault: Fault, ask: Callable[[], Answer]) -> Answer:
        """Do it once another request was done, or nobody came in time."""
        overtaken = asyncio.Event()
        self._overtaken.append(overtaken)
        await _patiently(overtaken, fault.lasts_s)
        return ask()

    async def _wait(self, fault: Fault) -> None:
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.lasts_s)
        elif fault.kind is FaultKind.HANG:
            await _patiently(self._lifted, fault.lasts_s)


async def distorted(request: web.Request, fault: Fault, answer: web.Response) -> web.StreamResponse:
    """What the client gets over HTTP instead of the answer."""
    match fault.kind:
        case FaultKind.ERROR:
            return _json(json.dumps({"code": fault.code, "msg": fault.msg}), fault.status)
        case FaultKind.MAINTENANCE:
            return _json(MAINTENANCE, 200)
        case FaultKind.HTTP | FaultKind.HTML:
            return web.Response(text=PAGE, status=fault.status if fault.kind is FaultKind.HTTP else 200, content_type="text/html")
        case FaultKind.EMPTY:
            return web.Response(status=fault.status)
        case FaultKind.TRUNCATE:
            await _half(request, answer)
        case FaultKind.DROP | FaultKind.HANG:
            pass
        case _:
            return answer
    if request.transport is not None:
        request.transport.close()
    return answer


def distorted_message(connection: Connection, fault: Fault, answer: dict[str, Any]) -> None:
    """Send over the websocket API what the client gets instead of the answer."""
    text = json.dumps(answer, separators=(",", ":"))
    match fault.kind:
        case FaultKind.ERROR:
            connection.send({"id": answer["id"], "status": fault.status, "error": {"code": fault.code, "msg": fault.msg}})
        case FaultKind.MAINTENANCE:
            connection.send({"id": answer["id"], "status": 503, "error": json.loads(MAINTENANCE)})
        case FaultKind.HTTP | FaultKind.HTML:
            connection.send(PAGE)
        case FaultKind.TRUNCATE:
            connection.send(text[: len(text) // 2])
        case FaultKind.DROP:
            connection.send(int(WSCloseCode.INTERNAL_ERROR))
        case FaultKind.EMPTY | FaultKind.HANG:
            return
        case _:
            connection.send(text)


async def _half(request: web.Request, answer: web.Response) -> None:
    text = answer.body if isinstance(answer.body, bytes) else b"{}"
    half = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
    await half.prepare(request)
    await half.write(text[: len(text) // 2])


async def _patiently(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _json(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
