"""Faults on demand: an answer that is lost, late, cut or false, before or after the exchange did what was asked.

A fault waits for requests that match it and strikes the n-th of them, so many times. Nothing is left to chance: the same requests meet the same
faults. The list of what can be practised follows what public trading systems reported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong."""

    ERROR = "error"  # a JSON body {code, msg} with a status
    HTTP = "http"  # a status with a page of HTML; with status 200 a page where JSON should be
    EMPTY = "empty"  # a status with nothing
    DROP = "drop"  # the connection is cut without an answer
    TRUNCATE = "truncate"  # the connection is cut in the middle of the answer
    DELAY = "delay"  # the answer comes so many seconds late


class BadFault(ValueError):
    """A fault that cannot be practised: the message says what it may be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes matching requests number `nth` to `nth + times - 1`. `before`: the exchange does nothing, or does it late; else it did all it was asked."""

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    nth: int = 1
    times: int = 1
    before: bool = False
    status: int = 503
    code: int = -1000
    msg: str = "An unknown error occurred while processing the request."
    seconds: float = 1.0

    def matches(self, method: str, path: str, symbol: str | None) -> bool:
        """Whether it waits for such a request; what is None matches anything."""
        asked = ((self.method, method), (self.path, path), (self.symbol, symbol))
        return all(wanted is None or wanted == found for wanted, found in asked)


class Faults:
    """Every fault that was planned, and how many matching requests each has seen."""

    def __init__(self) -> None:
        self._planned: list[tuple[Fault, list[int]]] = []

    def plan(self, fault: Fault) -> None:
        """Let a fault wait for its requests."""
        self._planned.append((fault, [0]))

    def clear(self) -> None:
        """Forget every fault."""
        self._planned.clear()

    def due(self, method: str, path: str, symbol: str | None) -> Fault | None:
        """Count a request, and return the first fault that strikes it."""
        struck = None
        for fault, seen in self._planned:
            if fault.matches(method, path, symbol):
                seen[0] += 1
                if struck is None and fault.nth <= seen[0] < fault.nth + fault.times:
                    struck = fault
        return struck


def fault_of(body: Any) -> Fault:
    """A fault from its JSON; raises BadFault for words it does not know and values of the wrong type."""
    names = [field.name for field in fields(Fault)]
    if not isinstance(body, dict) or "kind" not in body or not set(body) <= set(names):
        raise BadFault(f"expected an object with kind and any of {', '.join(names[1:])}, found {body}")
    if body["kind"] not in list(FaultKind):
        raise BadFault(f"expected a kind out of {', '.join(FaultKind)}, found {body['kind']}")
    fault = Fault(**{**body, "kind": FaultKind(body["kind"])})
    numbers = (fault.nth, fault.times, fault.status, fault.code, fault.seconds)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise BadFault(f"expected numbers for nth, times, status, code and seconds, found {numbers}")
    return fault
