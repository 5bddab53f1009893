"""Market time goes forward; wall time is aware."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from desk.clock import Clock, EventClock, WallClock
from desk.errors import ClockBackwards

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_an_event_clock_stands_where_the_last_event_put_it() -> None:
    clock = EventClock(NOON)

    clock.advance(NOON + timedelta(hours=1))

    assert clock.now() == NOON + timedelta(hours=1)


@pytest.mark.parametrize("step", [timedelta(0), timedelta(microseconds=-1)])
def test_an_event_clock_refuses_to_stand_or_run_backwards(step: timedelta) -> None:
    clock = EventClock(NOON)

    with pytest.raises(ClockBackwards, match="2024-01-01T12:00:00"):
        clock.advance(NOON + step)

    assert clock.now() == NOON


def test_every_clock_tells_aware_utc() -> None:
    clocks: list[Clock] = [EventClock(NOON), WallClock()]

    assert {clock.now().tzinfo for clock in clocks} == {UTC}
