"""A practice exchange process of its own, for benchmarks that need the other side of the wire."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def exchange(*arguments: str) -> Iterator[dict[str, Any]]:
    """`with exchange("--seed", "3") as greeting`: a fresh exchange on a free loopback port, stopped at the end."""
    process = subprocess.Popen([sys.executable, "-m", "desk.practice_exchange", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield {**json.loads(process.stdout.readline()), "pid": process.pid}
    finally:
        process.terminate()
        process.wait(10)


def ask(greeting: dict[str, Any], path: str, body: dict[str, Any] | None = None) -> Any:
    """One question on the exchange's admin port."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(greeting["admin"] + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
