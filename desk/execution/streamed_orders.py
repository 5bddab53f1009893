"""Orders over the exchange's websocket, everything else over REST: a pair of ccxt objects that behaves like one synchronous one.

Orders leave by the stream; on loopback that is no faster than a REST connection kept open. Executions heard on it are news, never truth: they end a wait early,
and what happened is then asked over REST. A stream that freezes costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from configs.vocabulary import Submission
from desk.log import event

PAUSE_S = 1.0  # before listening again to a stream that failed
CLOSE_TIMEOUT_S = 5.0


class StreamedOrders:
    """A context that stands where a synchronous ccxt `rest` object is expected. `streams` makes its ccxt.pro twin, used on a thread of its own.

    An order without an answer after ccxt's own timeout is in doubt, as over REST.
    """

    def __init__(self, rest: Any, streams: Callable[[], Any]) -> None:
        self._rest = rest
        self._make = streams
        self._streams: Any = None
        self._timeout_s = float(rest.timeout) / 1000
        self._news = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="order-stream", daemon=True)
        self._listening: Future[None] | None = None
        self.last_http_response: str | None = None

    def __enter__(self) -> StreamedOrders:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(self._timeout_s)
        self._listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._listening is not None:
            self._listening.cancel()
        try:
            asyncio.run_coroutine_threadsafe(self._streams.close(), self._loop).result(CLOSE_TIMEOUT_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
            self._loop.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rest, name)

    def create_order(self, *arguments: Any) -> Any:
        """ccxt's create_order, by the stream. A refusal leaves its {code, msg} in `last_http_response`, as REST does."""
        import ccxt

        placing = asyncio.run_coroutine_threadsafe(self._place(arguments), self._loop)
        try:
            return placing.result(self._timeout_s)
        except TimeoutError as error:
            placing.cancel()
            raise ccxt.RequestTimeout(f"no answer on the stream within {self._timeout_s} seconds") from error

    def wait(self, seconds: float) -> None:
        """Let `seconds` of wall time pass, or fewer when an execution is heard."""
        self._news.wait(seconds)
        self._news.clear()

    async def _open(self) -> None:
        self._streams = self._make()
        told = self._streams.handle_ws_error

        def refused(client: Any, message: Any) -> Any:
            # Orders go out one at a time: the newest refusal belongs to the order in flight.
            self.last_http_response = json.dumps(message.get("error"))
            return told(client, message)

        self._streams.handle_ws_error = refused
        await self._streams.load_markets()

    async def _place(self, arguments: tuple[Any, ...]) -> Any:
        return await self._streams.create_order_ws(*arguments)

    async def _listen(self) -> None:
        import ccxt

        while True:
            try:
                await self._streams.watch_my_trades()
                self._news.set()
            except ccxt.BaseError as error:
                event("orders.unheard", level="WARNING", why=f"{type(error).__name__}: {error}")
                await asyncio.sleep(PAUSE_S)


@contextmanager
def order_wire(rest: Any, streams: Callable[[], Any], submission: Submission) -> Iterator[tuple[Any, Callable[[float], None] | None]]:
    """What a venue sends by: the ccxt object, and how it waits for news (None: by the clock)."""
    if submission is Submission.REST:
        yield rest, None
        return
    with StreamedOrders(rest, streams) as pair:
        yield pair, pair.wait
