"""The line to those who listen: a queue and a writer for every websocket, and what happens to frames on their way.

A client that does not read cannot hold the market up; one that falls too far behind is closed, as on Binance. A socket that froze is open, and
says nothing: no frame, no answer, no pong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from desk.practice_exchange.encoding import encoded
from desk.practice_exchange.faults import Fault, FaultKind, Faults, Frame

QUEUE_FRAMES = 20_000
REMEMBERED = 256
FRAME_LIMIT = 1 << 20
CLOSE_TIMEOUT_S = 1.0
SEQUENCES = ("U", "u", "pu", "lastUpdateId")
USER = "user"


@dataclass(eq=False, slots=True)
class Connection:
    """One websocket: its names of public streams, and the number of its user subscription."""

    socket: web.WebSocketResponse
    streams: set[str] = field(default_factory=set)
    user: int | None = None
    frames: asyncio.Queue[str | int] = field(default_factory=lambda: asyncio.Queue(QUEUE_FRAMES))
    lost: bool = False
    frozen: bool = False
    ended: bool = False

    def send(self, frame: Any) -> None:
        """Queue a frame, or the code to close with; a full queue loses the connection, never a frame in its middle."""
        if self.frozen:
            return
        try:
            self.frames.put_nowait(frame if isinstance(frame, str | int) else encoded(frame))
        except asyncio.QueueFull:
            self.lost = True

    async def write(self) -> None:
        """Send what is queued, in order, until the socket is gone."""
        while not self.socket.closed:
            frame = await self.frames.get()
            if self.lost:
                await self.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too slow")
                return
            if isinstance(frame, int):
                await self.socket.close(code=frame)
                return
            try:
                await self.socket.send_str(frame)
            except ConnectionError:
                return

    async def read(self, answer: Callable[[Connection, str], Any]) -> None:
        """Answer what comes until the socket ends; an answer of None is none."""
        async for message in self.socket:
            if self.frozen:
                continue
            if message.type is WSMsgType.PING:
                await self.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT and (answered := answer(self, message.data)) is not None:
                self.send(answered)


class Line:
    """Every connection in the order in which it came, and the faults that meet frames."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._connections: dict[Connection, None] = {}
        self._sent: deque[tuple[Frame, str]] = deque(maxlen=REMEMBERED)
        self._held: dict[Connection, list[str]] = {}
        self.begin: Callable[[Fault], None] = lambda fault: None

    async def hold(self, request: web.Request, begin: Callable[[Connection], None], answer: Callable[[Connection, str], Any]) -> web.WebSocketResponse:
        """Serve a websocket until it ends; `begin` hears of it first. Pongs are ours to send: a frozen socket must not."""
        socket = web.WebSocketResponse(max_msg_size=FRAME_LIMIT, timeout=CLOSE_TIMEOUT_S, autoping=False)
        await socket.prepare(request)
        connection = Connection(socket)
        self._connections[connection] = None
        begin(connection)
        writer = asyncio.create_task(connection.write())
        try:
            await connection.read(answer)
        finally:
            del self._connections[connection]
            connection.ended = True
            self._held.pop(connection, None)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def connections(self, stream: str | None = None) -> list[Connection]:
        """The open ones, those that came first first: all, or those that listen to a stream ("user": to the account)."""
        return [each for each in self._connections if stream is None or stream in each.streams or (stream == USER and each.user is not None)]

    def freeze(self, stream: str | None) -> None:
        """Let the sockets that are open now say nothing more."""
        for connection in self.connections(stream):
            connection.frozen = True

    def thaw(self) -> None:
        """Let frozen sockets speak again; what they missed is lost."""
        for connection in self._connections:
            connection.frozen = False

    async def close_all(self) -> None:
        """Close every connection, as an exchange does once a day."""
        await asyncio.gather(*(connection.socket.close() for connection in self.connections()))

    def close(self, stream: str | None, code: int) -> None:
        """Close the sockets that are open now, after what is on its way to them."""
        for connection in self.connections(stream):
            connection.send(code)

    def tell(self, connection: Connection, frame: Frame, content: Any) -> None:
        """Send a frame, unless a fault meets it."""
        text = content if isinstance(content, str) else encoded(content)
        fault = self._faults.due(frame) if self._faults.frames else None
        if fault is None:
            connection.send(text)
        else:
            self._distort(connection, frame, text, fault)
        for late in self._held.pop(connection, ()) if fault is None or fault.kind is not FaultKind.REORDER else ():
            connection.send(late)
        self._sent.append((frame, text))

    def _distort(self, connection: Connection, frame: Frame, text: str, fault: Fault) -> None:
        """What is sent instead of the frame."""
        match fault.kind:
            case FaultKind.DUPLICATE:
                connection.send(text)
                connection.send(text)
            case FaultKind.TRUNCATE:
                connection.send(text[: len(text) // 2])
            case FaultKind.DELAY:
                asyncio.get_running_loop().call_later(fault.lasts_s, connection.send, text)
            case FaultKind.REORDER:
                self._held.setdefault(connection, []).append(text)
            case FaultKind.SKIP_SEQ:
                connection.send(_jumped(text, fault.gap))
            case FaultKind.STALE_EVENT:
                connection.send(text)
                self._repeat(connection, frame, text, fault.back)
            case FaultKind.SUPPRESS_EVENT:
                return
            case _:
                # It changes a state: the frame that set it off still leaves.
                connection.send(text)
                self.begin(fault)

    def _repeat(self, connection: Connection, frame: Frame, text: str, back: int) -> None:
        """Send the frame that came so many before this one on the same stream once more, whoever heard it; without one, nothing."""
        earlier = list(dict.fromkeys(content for sent, content in self._sent if sent == frame and content != text))
        if len(earlier) >= back:
            connection.send(earlier[-back])


def _jumped(text: str, gap: int) -> str:
    """The frame with its sequence numbers so much later."""
    content = json.loads(text)
    return encoded({name: value + gap if name in SEQUENCES else value for name, value in content.items()})
