"""An exchange behind breakers: only silence counts, questions about our own orders always go, and a file knows it all after a restart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ccxt
import pytest

from desk.execution.ccxt_settings import constructor_config
from desk.execution.guarded import GuardedExchange
from desk.risk.breaker import OPENS_AFTER, PROBE_AFTER, Breaker


@dataclass
class Noon:
    """A clock set by hand."""

    time: datetime = datetime(2024, 1, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def nobody() -> Iterator[Any]:
    """A ccxt client of an address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        yield ccxt.binance(constructor_config(f"http://{address}", f"ws://{address}", "key", "secret"))


def ask(exchange: Any, times: int, method: str = "fetch_time") -> list[str]:
    """The kinds of errors that so many calls ended with."""
    ends = []
    for _ in range(times):
        with pytest.raises(ccxt.NetworkError) as end:
            getattr(exchange, method)()
        ends.append(str(end.value))
    return ends


def test_an_exchange_that_does_not_answer_is_left_alone(nobody: Any, tmp_path: Path) -> None:
    clock = Noon()
    guarded = GuardedExchange(nobody, Breaker("venue_reads", tmp_path, clock))

    said = ask(guarded, OPENS_AFTER + 3)

    assert [False] * OPENS_AFTER + [True] * 3 == ["left alone until" in each for each in said]
    clock.time += PROBE_AFTER
    assert [False, True] == ["left alone until" in each for each in ask(guarded, 2)]


def test_a_restarted_process_leaves_it_alone_too(nobody: Any, tmp_path: Path) -> None:
    clock = Noon()
    ask(GuardedExchange(nobody, Breaker("venue_reads", tmp_path, clock)), OPENS_AFTER)
    clock.time += timedelta(seconds=1)

    said = ask(GuardedExchange(nobody, Breaker("venue_reads", tmp_path, clock)), 1)

    assert "left alone until" in said[0]


@dataclass
class Answers:
    """An exchange object whose every answer is the same."""

    error: Exception | None = None
    last_http_response: str | None = None

    def fetch_order(self, *arguments: object) -> dict[str, str]:
        if self.error:
            raise self.error
        return {"id": "1"}

    fetch_balance = create_order = cancel_order = fetch_order


def test_questions_about_our_own_orders_and_cancellations_are_never_held_back(tmp_path: Path) -> None:
    clock, silent = Noon(), Answers(ccxt.RequestTimeout("silence"))
    reads, orders = Breaker("venue_reads", tmp_path, clock), Breaker("venue_orders", tmp_path, clock)
    guarded = GuardedExchange(silent, reads, orders)
    for _ in range(OPENS_AFTER):
        with pytest.raises(ccxt.RequestTimeout):
            guarded.fetch_balance()
        with pytest.raises(ccxt.RequestTimeout):
            guarded.create_order()
    assert all((reads.refusal(), orders.refusal()))
    silent.error = None

    assert {"id": "1"} == guarded.cancel_order()
    assert {"id": "1"} == guarded.fetch_order()

    assert ("", "") == (reads.refusal(), orders.refusal())


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    reads = Breaker("venue_reads", tmp_path, Noon())
    guarded = GuardedExchange(Answers(ccxt.OrderNotFound("no such order")), reads)

    for _ in range(2 * OPENS_AFTER):
        with pytest.raises(ccxt.OrderNotFound):
            guarded.fetch_order()

    assert "" == reads.refusal()


def test_everything_else_is_the_exchange_itself(tmp_path: Path) -> None:
    inner = Answers()
    guarded = GuardedExchange(inner, Breaker("venue_reads", tmp_path, Noon()))

    guarded.last_http_response = "nothing"

    assert "nothing" == inner.last_http_response == guarded.last_http_response
    assert {"id": "1"} == guarded.create_order()
