"""What must not be seen, and how it is blotted out of text and of values.

Three nets, because each has holes: names (a field called `api_key`), shapes (`signature=...` in a URL, an Authorization header, a private
key), and the values themselves, which the vault registers when it hands them out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import quote

BLOT = "***"
_DEEPEST = 8

_NAMES = r"secret|token|password|passwd|api[-_ ]?key|authorization|signature|private[-_ ]?key|totp[-_ ]?(?:seed|code)|cookie"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_SHAPES = (
    # name=value, "name": "value", name: Bearer value - in URLs, JSON, headers and reprs
    (
        re.compile(rf"""([\w-]*(?:{_NAMES})[\w-]*\\?["']?\s*[=:]\s*(?:\\?["'])?(?:(?:Bearer|Basic|Token)\s+)?)(?!\*\*\*)[^\s"'&,;)}}\]\\]+""", re.IGNORECASE),
        rf"\1{BLOT}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {BLOT}"),
    # the user and the password in front of a host: postgresql://user:password@host
    (re.compile(r"(\w://)[^\s/@:]*:[^\s/@]+@"), rf"\1{BLOT}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), BLOT),
)
_registered: dict[str, None] = {}


def register_secret(value: str) -> None:
    """Blot out this very value from now on, plain and as it looks inside a URL; an empty value is nothing to hide."""
    for form in (value, quote(value, safe="")):
        if form:
            _registered[form] = None


def clean_text(text: str) -> str:
    """The text without registered values, and without anything that looks like a secret beside its name."""
    for value in sorted(_registered, key=len, reverse=True):
        text = text.replace(value, BLOT)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def clean(value: Any, depth: int = 0) -> Any:
    """The value as plain JSON, every secret in it blotted out; what lies deeper than eight levels is named by its type only."""
    if depth > _DEEPEST:
        return f"<{type(value).__name__}>"
    match value:
        case None | bool() | int() if not isinstance(value, Enum):
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Enum():
            return clean(value.value, depth + 1)
        case str():
            return clean_text(value)
        case datetime():
            return value.isoformat()
        case Mapping():
            return {clean_text(str(name)): _clean_named(name, inner, depth) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [clean(inner, depth + 1) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _clean_named(field.name, getattr(value, field.name), depth) for field in fields(value)}
    return clean_text(str(value))


def _clean_named(name: object, value: Any, depth: int) -> Any:
    return BLOT if value is not None and _SECRET_NAME.search(str(name)) else clean(value, depth + 1)
