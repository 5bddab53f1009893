"""The shape of a payload: which keys it has and of which types their values are, without the values. What wires are compared by.

An object's shape is an object, a list's shape a list: of one element when all are alike or are objects, of as many as the list has when it is a row.
Of objects in a list only what all of them have counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS: dict[type, str] = {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}
MIXED = "mixed"
UNKNOWN = ("null", MIXED)


def shape_of(payload: Any) -> Any:
    """Keys and types of a JSON value."""
    if isinstance(payload, dict):
        return {name: shape_of(value) for name, value in payload.items()}
    if isinstance(payload, list):
        shapes = [shape_of(value) for value in payload]
        if all(isinstance(shape, dict) for shape in shapes) or not _is_row(shapes):
            return [_common(shapes)] if shapes else []
        return shapes
    return WORDS[type(payload)]


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """What `found` lacks or has of another type, one line each; more than expected is no difference, and neither is null for anything."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{where}.{name}: missing" for name in expected if name not in found]
        return missing + [line for name in expected if name in found for line in differences(expected[name], found[name], f"{where}.{name}")]
    if isinstance(expected, list) and isinstance(found, list):
        if not expected or not found:
            return []
        if len(expected) != len(found):
            return [f"{where}: rows of {len(expected)} expected, of {len(found)} found"]
        return [line for number, pair in enumerate(zip(expected, found, strict=True)) for line in differences(*pair, f"{where}[{number}]")]
    if expected == found or expected in UNKNOWN or found in UNKNOWN:
        return []
    return [f"{where}: {_word(expected)} expected, {_word(found)} found"]


def _is_row(shapes: Sequence[Any]) -> bool:
    """Whether the places of a list mean different things."""
    return any(isinstance(shape, str) for shape in shapes) and any(shape != shapes[0] for shape in shapes)


def _common(shapes: Sequence[Any]) -> Any:
    """What all the shapes of a list have in common."""
    first, *others = shapes
    for other in others:
        first = _both(first, other)
    return first


def _both(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _both(one[name], other[name]) for name in one if name in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_both(*pair) for pair in zip(one, other, strict=True)]
    if one == other or other in ("null", []):
        return one
    return other if one in ("null", []) else MIXED


def _word(shape: Any) -> str:
    return "an object" if isinstance(shape, dict) else "a list" if isinstance(shape, list) else str(shape)
