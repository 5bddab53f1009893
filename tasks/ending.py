"""How a window ends when it is asked to (SIGTERM): what is under way is carried out, nothing new is begun, and everything is closed in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from desk.events import BarsClosed
from desk.log import event
from desk.market.streamed_feed import StreamedFeed


class _EndAsked(BaseException):
    """Wakes whoever waits for the market. No error: nothing but the wait may catch it."""


class Ending:
    """Whether the end was asked for. A wait for the market is broken off; a step never is."""

    def __init__(self) -> None:
        self.asked = False
        self._waiting = False

    def ask(self, number: int, frame: Any) -> None:
        """The signal's handler."""
        first, self.asked = not self.asked, True
        if first and self._waiting:
            raise _EndAsked

    def until_asked(self, events: Iterator[BarsClosed]) -> Iterator[BarsClosed]:
        """The same events, until the end is asked for. What was heard and not handed on is heard again at the next start."""
        try:
            while not self.asked:
                self._waiting = True
                found = next(events, None)
                self._waiting = False
                if found is None:
                    return
                yield found
        except _EndAsked:
            return
        finally:
            self._waiting = False


class EndableFeed(StreamedFeed):
    """A streamed feed that stops waiting when the end is asked for."""

    ending: Ending | None = None

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """As streamed, until the end is asked for."""
        told = super().events(after)
        yield from told if self.ending is None else self.ending.until_asked(told)


@contextmanager
def ending_cleanly(session_id: str) -> Iterator[Ending]:
    """Run a window under SIGTERM's eyes. Once it is closed the signal goes to whoever had it before: a flow run, or the process as a whole."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending  # only a main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, ending.ask)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    if ending.asked:
        event("window.ended", level="WARNING", session=session_id, why="SIGTERM")
        os.kill(os.getpid(), signal.SIGTERM)
