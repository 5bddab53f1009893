"""JSON as it leaves: one encoder for answers, frames and the journal, compact and fast."""

from __future__ import annotations

from typing import Any

import orjson


def encoded(value: Any) -> str:
    """The value as JSON text without spaces; words of our enumerations as what they stand for."""
    return orjson.dumps(value).decode()
