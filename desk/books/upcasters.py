"""Journals of earlier releases, read as if this one had written them.

A payload is kept as it was written, and the chain's hashes are over that; what is here happens on reading. Each function is pure, from one version to the
next: a journal that is three versions old takes three of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from desk.errors import JournalBroken

# Raise it with every change to what an entry says, and add the way here from the version before.
VERSION = 2


def current(kind: str, payload: dict[str, Any], where: str) -> dict[str, Any]:
    """A payload of any version up to ours in our version's words. `JournalBroken` for one that a later release wrote."""
    version = payload.get("version", 1)  # the first one did not say
    if version == VERSION:
        return payload
    if not isinstance(version, int) or version > VERSION:
        raise JournalBroken(f"expected entries of version {VERSION} or before in {where}, found {version}: use the release that wrote it")
    for before in range(version, VERSION):
        payload = _UPCASTERS.get((before, kind), _unchanged)(payload)
    return payload


def _unchanged(payload: Mapping[str, Any]) -> dict[str, Any]:
    return dict(payload)


def _named_marks(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 wrote marks by position, at first without what operators say, and steps at first without stops."""
    names = ("peak", "day", "day_first", "reducing", "day_reducing", "latched", "resumed")
    marks = {"latched": "active", "resumed": 0, **dict(zip(names, payload["marks"], strict=False))}
    return {"stops": [], "cancels": [], **payload, "marks": marks}


def _without_flows(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 knew of no money that comes and goes."""
    return {**payload, "flows": []}


_UPCASTERS: dict[tuple[int, str], Callable[[Mapping[str, Any]], dict[str, Any]]] = {(1, "step"): _named_marks, (1, "opened"): _without_flows}
