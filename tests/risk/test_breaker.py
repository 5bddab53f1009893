"""A breaker leaves alone what does not answer, tries it once a minute, and remembers all that across restarts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk.risk.breaker import OPENS_AFTER, PROBE_AFTER, Breaker


@dataclass
class Hands:
    """A clock that is set by hand."""

    time: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def breaker(tmp_path: Path, hands: Hands) -> Breaker:
    return Breaker("venue_reads", tmp_path, hands)


def broken(breaker: Breaker, times: int = OPENS_AFTER) -> None:
    for _ in range(times):
        breaker.failed("RequestTimeout")


def test_it_opens_at_the_fifth_failure_in_a_row(breaker: Breaker) -> None:
    broken(breaker, 4)
    assert "" == breaker.refusal()

    broken(breaker, 1)

    assert "failed 5 times in a row, last with RequestTimeout" in breaker.refusal()


def test_an_answer_ends_the_row(breaker: Breaker) -> None:
    broken(breaker, 4)
    breaker.succeeded()
    broken(breaker, 4)

    assert "" == breaker.refusal()


def test_after_a_minute_one_probe_may_go_and_nobody_with_it(breaker: Breaker, hands: Hands) -> None:
    broken(breaker)
    hands.time += PROBE_AFTER - timedelta(seconds=1)
    assert breaker.refusal()
    hands.time += timedelta(seconds=1)

    assert "" == breaker.refusal()
    assert breaker.refusal()


def test_a_probe_that_is_answered_closes_it(breaker: Breaker, hands: Hands) -> None:
    broken(breaker)
    hands.time += PROBE_AFTER
    assert "" == breaker.refusal()

    breaker.succeeded()

    assert "" == breaker.refusal() == breaker.refusal()


def test_a_probe_that_fails_leaves_it_open_for_another_minute(breaker: Breaker, hands: Hands) -> None:
    broken(breaker)
    hands.time += PROBE_AFTER
    assert "" == breaker.refusal()

    breaker.failed("RequestTimeout")

    assert breaker.refusal()
    hands.time += PROBE_AFTER
    assert "" == breaker.refusal()


def test_a_restart_does_not_close_it(breaker: Breaker, hands: Hands, tmp_path: Path) -> None:
    broken(breaker)

    again = Breaker("venue_reads", tmp_path, hands)

    assert again.refusal()
    assert "" == Breaker("venue_orders", tmp_path, hands).refusal()


def test_a_file_that_says_nothing_is_a_closed_breaker(hands: Hands, tmp_path: Path) -> None:
    (tmp_path / "venue_reads.json").write_text("{")

    assert "" == Breaker("venue_reads", tmp_path, hands).refusal()
