"""What a session was told, kept beside its journal: every bar it saw, in order, and when the desk heard it.

The journal says what was decided and what the venue answered; this file says on what. Together they are enough to trade the same session again, and
the journal's digest of each event's bars shows whether a row here was changed since. Losing its tail costs nothing that a restart does not repair:
a session that starts again reads the same history and the missing events are written then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from configs.vocabulary import Timeframe
from desk.chain import MEMORY, Chain, Entry
from desk.clock import WallClock
from desk.errors import BadFile
from desk.events import Bar, BarsClosed
from desk.market.feed import Feed

SETUP, BARS = "setup", "bars"
RECENT = 64  # entries among which the last event usually is


def inputs_of(journal: Path) -> Path:
    """The file beside a journal in which its inputs are."""
    return journal.with_suffix(".inputs")


@contextmanager
def recorded(feed: Feed, journal: Path | str, setup: Mapping[str, Any], at: datetime, *, fresh: bool) -> Iterator[Feed]:
    """The same feed, which writes down what it tells, and once per start what the session is made of; a journal in memory records nothing.

    `fresh`: the journal has no step yet, so whatever inputs lie beside it are another journal's, or will be told again: they are set aside.
    """
    if journal == MEMORY:
        yield feed
        return
    path = inputs_of(Path(journal))
    if fresh:
        _set_aside(path)
    with Chain(path, sync=False) as chain:
        known = _last_event(chain)
        chain.append([Entry(at, SETUP, dict(setup))])
        yield _Recorder(feed, chain, known)


class _Recorder:
    """Implements `Feed`: another one, overheard. An event is written before it is told."""

    def __init__(self, feed: Feed, chain: Chain, known: datetime | None) -> None:
        self._feed = feed
        self._chain = chain
        self._known = known
        self._clock = WallClock()

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """As told."""
        events = list(self._feed.history(bars, until))
        self._write(events)
        yield from events

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """As told."""
        for event in self._feed.events(after):
            self._write([event])
            yield event

    def _write(self, events: list[BarsClosed]) -> None:
        news = [event for event in events if self._known is None or event.closed_at > self._known]
        if news:
            heard_at = self._clock.now().isoformat()
            self._chain.append([Entry(event.closed_at, BARS, {"heard": heard_at, "bars": [_row(bar) for bar in event.bars]}) for event in news])
            self._known = news[-1].closed_at


@dataclass(frozen=True, slots=True)
class Inputs:
    """A recording read back: what the session was made of at its last start, every event in the order it was told, and when each was heard."""

    setup: Mapping[str, Any]
    events: tuple[BarsClosed, ...]
    heard: tuple[datetime, ...]

    @classmethod
    def read(cls, path: Path) -> Inputs:
        """Read a file of inputs beside its writer. It is taken at its word: the journal's digests say whether it may be."""
        if not path.exists():
            raise BadFile(f"expected the inputs of a run in {path}, found no such file: only runs that kept their journal on disk can be replayed")
        setup: Mapping[str, Any] = {}
        events, heard = [], []
        with Chain.reading(path) as chain:
            for link in chain.entries():
                if link.kind == SETUP:
                    setup = link.payload
                else:
                    events.append(BarsClosed(link.at, tuple(_bar(row) for row in link.payload["bars"])))
                    heard.append(datetime.fromisoformat(link.payload["heard"]))
        return cls(setup, tuple(events), tuple(heard))


class ToldAgain:
    """Implements `Feed` over recorded events, which come exactly as they came. Those closed after `start` are for trading."""

    def __init__(self, events: tuple[BarsClosed, ...], start: datetime) -> None:
        self._events = events
        self._start = start

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        """At most the last `bars` events closed at or before `until`; None: before the start."""
        past = [event for event in self._events if event.closed_at <= (until or self._start)]
        yield from past[max(len(past) - bars, 0) :]

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        """Every event that is not history, in the order it was told."""
        first = next((n for n, event in enumerate(self._events) if event.closed_at > (after or self._start)), len(self._events))
        yield from self._events[first:]


def _set_aside(path: Path) -> None:
    """Keep what is there under a name of its own, with the logs that belong to it."""
    if not path.exists():
        return
    number = next(number for number in count(1) if not path.with_name(f"{path.name}.{number}").exists())
    for log in ("-wal", "-shm", ""):
        part = path.with_name(path.name + log)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.{number}{log}"))


def _last_event(chain: Chain) -> datetime | None:
    """When the last event written closed: near the end, or anywhere before it when many starts told nothing."""
    for after in (max(chain.head.count - RECENT, 0), 0):
        times = [link.at for link in chain.entries(after, BARS)]
        if times:
            return times[-1]
    return None


def _row(bar: Bar) -> list[Any]:
    return [bar.symbol, bar.timeframe.value, bar.open_time.isoformat(), bar.open, bar.high, bar.low, bar.close, bar.volume]


def _bar(row: list[Any]) -> Bar:
    symbol, timeframe, open_time, *numbers = row
    return Bar(symbol, Timeframe(timeframe), datetime.fromisoformat(open_time), *numbers)
