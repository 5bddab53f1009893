"""What the desk says while a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from loguru import logger


class Heard(NamedTuple):
    """One event: its level, its name and its fields."""

    level: str
    event: str
    fields: dict[str, Any]


@contextmanager
def listening() -> Iterator[list[Heard]]:
    """Every event inside the `with` block, as it was said: what other tests made of the log would take it apart on the way here."""
    heard: list[Heard] = []
    logger.remove()
    logger.configure(patcher=lambda _: None)
    sink = logger.add(lambda message: heard.append(_of(message.record)), level="DEBUG", catch=False)
    try:
        yield heard
    finally:
        logger.remove(sink)


def _of(record: dict[str, Any]) -> Heard:
    return Heard(record["level"].name, record["message"], record["extra"].get("fields", {}))
