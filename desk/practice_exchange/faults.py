"""Faults on demand: what can go wrong between an exchange and its client, when it strikes, and how often it did.

A fault waits for occasions that match it - requests, over HTTP or the websocket API, or frames of a stream - and strikes the n-th of them, so many
times. Those that change a state and name no occasion strike when they are planned. The same occasions meet the same faults: `chance` draws from
`seed`. The list of what can be practised follows what public trading systems reported.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong."""

    ERROR = "error"  # a JSON body {code, msg} with a status
    MAINTENANCE = "maintenance"  # nothing is done; 200 and a body that says so
    HTTP = "http"  # a status with a page of HTML; with status 200 a page where JSON should be
    HTML = "html"  # 200 with a page where JSON should be
    EMPTY = "empty"  # a status with nothing
    DROP = "drop"  # the connection is cut without an answer
    HANG = "hang"  # no answer and no end, until the fault is cleared or its seconds are over
    TRUNCATE = "truncate"  # the connection is cut in the middle of the answer; a frame arrives as a half
    DELAY = "delay"  # the answer or the frame comes so many seconds late
    DUPLICATE = "duplicate"  # the request arrives twice, the client sees the second answer; a frame is sent twice
    REORDER = "reorder"  # the request is done after the next one; a frame is sent after the next one
    LAG_READS = "lag_reads"  # reads do not know the orders that came since the fault was planned
    WEIGHT = "weight"  # so much request weight is used up
    BAN = "ban"  # 418 for so many seconds
    SKEW_CLOCK = "skew_clock"  # the clock that judges signatures is off
    HALT_SYMBOL = "halt_symbol"  # nothing trades, the book is empty
    DELIST = "delist"  # the symbol's orders end, it is listed no more, its price is zero
    EXPIRE_KEY = "expire_key"  # the API key is refused
    EXPIRE_LISTEN_KEY = "expire_listen_key"  # user streams end, their key with them
    SUPPRESS_EVENT = "suppress_event"  # a frame is never sent
    STALE_EVENT = "stale_event"  # after a frame an older one is sent again
    SKIP_SEQ = "skip_seq"  # the sequence numbers of a frame jump
    FREEZE_WS = "freeze_ws"  # the sockets that are open say nothing more, not even pong
    CLOSE_WS = "close_ws"  # the sockets that are open are closed with a code


K = FaultKind
STATES = frozenset(
    (K.WEIGHT, K.BAN, K.SKEW_CLOCK, K.HALT_SYMBOL, K.DELIST, K.EXPIRE_KEY, K.EXPIRE_LISTEN_KEY, K.FREEZE_WS, K.CLOSE_WS),
)
FRAMES = frozenset((K.SUPPRESS_EVENT, K.STALE_EVENT, K.SKIP_SEQ))
BOTH = frozenset((K.TRUNCATE, K.DELAY, K.DUPLICATE, K.REORDER))
SYMBOLS = frozenset((K.HALT_SYMBOL, K.DELIST))
USUAL_S = {K.HANG: 600.0, K.REORDER: 5.0, K.BAN: 120.0}
NUMBERS = ("nth", "times", "seed", "status", "code", "skew_ms", "weight", "back", "gap", "close_code")


class BadFault(ValueError):
    """A fault that cannot be practised: the message says what it may be."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came: its HTTP method and path, the websocket API's name of it when it came there, and the symbol it names."""

    method: str
    path: str
    symbol: str | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is to be sent: its stream ("user" for an account's), the event it tells of, and the symbol."""

    stream: str
    event: str
    symbol: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes matching occasions number `nth` to `nth + times - 1` (times 0: all from there on), each with `chance`.

    `before`: the exchange does nothing, or does it late; else it did all it was asked. `path`, `stream` and `symbol` may hold wildcards.
    """

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    stream: str | None = None
    event: str | None = None
    nth: int = 1
    times: int = 1
    chance: float = 1.0
    seed: int = 0
    before: bool = False
    status: int = 503
    code: int = -1000
    msg: str = "An unknown error occurred while processing the request."
    seconds: float | None = None
    skew_ms: int = 0
    weight: int = 0
    back: int = 1
    gap: int = 1
    close_code: int = 1001

    @property
    def lasts_s(self) -> float:
        """How long it is late, waits or holds."""
        return USUAL_S.get(self.kind, 1.0) if self.seconds is None else self.seconds

    @property
    def about_frames(self) -> bool:
        """Whether its occasions are frames."""
        return self.kind in FRAMES or self.stream is not None or self.event is not None

    @property
    def at_once(self) -> bool:
        """Whether it strikes when it is planned: it changes a state and names no occasion."""
        return self.kind in STATES and not self.about_frames and self.method is None and self.path is None

    def matches(self, occasion: Request | Frame) -> bool:
        """Whether it waits for such an occasion; what is None matches anything."""
        if self.kind not in SYMBOLS and not _like(self.symbol, occasion.symbol):
            return False
        if isinstance(occasion, Frame):
            return self.about_frames and _like(self.stream, occasion.stream) and _like(self.event, occasion.event)
        return not self.about_frames and self.method in (None, occasion.method, occasion.name) and _like(self.path, occasion.path)


@dataclass(slots=True)
class Planned:
    """A fault that waits: how many matching occasions it has seen, and how many it struck."""

    number: int
    fault: Fault
    seen: int = 0
    struck: int = 0
    draws: random.Random = field(default_factory=random.Random)

    def strikes(self, occasion: Request | Frame) -> bool:
        """Count an occasion, and say whether this one is struck."""
        fault = self.fault
        if fault.at_once or not fault.matches(occasion):
            return False
        self.seen += 1
        if self.seen < fault.nth or (fault.times and self.seen >= fault.nth + fault.times):
            return False
        return fault.chance >= 1 or self.draws.random() < fault.chance

    def row(self) -> dict[str, Any]:
        """The fault as it was asked for, and its counts."""
        asked = {name: value for name, value in asdict(self.fault).items() if value is not None}
        return {"id": self.number, **asked, "seen": self.seen, "struck": self.struck}


class Faults:
    """Every fault that was planned since the last clearing."""

    def __init__(self) -> None:
        self._planned: list[Planned] = []
        self.frames = False

    def plan(self, fault: Fault) -> int:
        """Let a fault wait for its occasions; returns its number. One that strikes at once has struck."""
        planned = Planned(len(self._planned) + 1, fault, draws=random.Random(fault.seed))
        planned.struck = int(fault.at_once)
        self._planned.append(planned)
        self.frames = self.frames or fault.about_frames
        return planned.number

    def clear(self) -> None:
        """Forget every fault."""
        self._planned.clear()
        self.frames = False

    def rows(self) -> list[dict[str, Any]]:
        """Every fault with how many occasions it saw and how many it struck."""
        return [planned.row() for planned in self._planned]

    def due(self, occasion: Request | Frame) -> Fault | None:
        """Count an occasion, and return the first fault that strikes it."""
        if not self._planned:
            return None
        striking = [planned for planned in self._planned if planned.strikes(occasion)]
        if not striking:
            return None
        striking[0].struck += 1
        return striking[0].fault


def fault_of(body: Any) -> Fault:
    """A fault from its JSON; raises BadFault for words it does not know and values of the wrong type."""
    names = [each.name for each in fields(Fault)]
    if not isinstance(body, dict) or "kind" not in body or not set(body) <= set(names):
        raise BadFault(f"expected an object with kind and any of {', '.join(names[1:])}, found {body}")
    if body["kind"] not in list(FaultKind):
        raise BadFault(f"expected a kind out of {', '.join(FaultKind)}, found {body['kind']}")
    fault = Fault(**{**body, "kind": FaultKind(body["kind"])})
    whole = {name: getattr(fault, name) for name in NUMBERS}
    shares = (fault.chance, fault.lasts_s)
    if not all(type(number) is int for number in whole.values()) or not all(type(number) in (int, float) and number >= 0 for number in shares):
        raise BadFault(f"expected whole numbers for {', '.join(whole)} and numbers from 0 on for chance and seconds, found {body}")
    _check_words(fault)
    return fault


def _check_words(fault: Fault) -> None:
    """Refuse what would never strike."""
    words = (fault.method, fault.path, fault.symbol, fault.stream, fault.event, fault.msg)
    if not all(word is None or isinstance(word, str) for word in words) or not isinstance(fault.before, bool):
        raise BadFault(f"expected text for method, path, symbol, stream, event and msg, and true or false for before, found {fault}")
    if fault.about_frames and fault.kind not in FRAMES | BOTH | STATES:
        raise BadFault(f"expected a request for {fault.kind}, found a stream or an event: leave both out")
    if fault.about_frames and (fault.method is not None or fault.path is not None):
        raise BadFault(f"expected either method and path or stream and event, found both for {fault.kind}")
    if fault.kind in SYMBOLS and fault.symbol is None:
        raise BadFault(f"expected a symbol for {fault.kind}, found none")


def _like(wanted: str | None, found: str | None) -> bool:
    return wanted is None or (found is not None and fnmatchcase(found, wanted))
