"""How long is too long: for a stream, for a close, for a source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from configs.vocabulary import Timeframe
from desk.clock import WallClock
from desk.market.watchdog import LONGEST_QUIET_S, QUIET_S, SILENCE_S, SLACK_S, Pace, Pulse

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Hands(WallClock):
    """A clock whose hands the test moves."""

    def __init__(self, at: datetime) -> None:
        self.at, self.moved_s = at, 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.moved_s)

    def seconds(self) -> float:
        return self.moved_s


@pytest.mark.parametrize(("gap_s", "silent_after_s"), [(0.1, SILENCE_S), (1.0, 10.0), (3.0, 30.0)])
def test_a_stream_is_silent_after_many_of_its_own_gaps_but_not_before_a_few_seconds(gap_s: float, silent_after_s: float) -> None:
    pulse = Pulse()
    for beat in range(20):
        pulse.beat(beat * gap_s)
    last_s = 19 * gap_s

    assert not pulse.silent(last_s + silent_after_s - 0.01)
    assert pulse.silent(last_s + silent_after_s + 0.01)


def test_a_stream_that_hardly_spoke_is_never_silent() -> None:
    pulse = Pulse()
    pulse.beat(0.0)

    assert not pulse.silent(1e6)


def test_a_market_in_our_time_is_looked_at_when_its_next_bar_is_over() -> None:
    """Twenty minutes into an hourly bar: forty minutes and a moment are left, and nothing is asked until then."""
    clock = Hands(T0 + timedelta(minutes=20))
    pace = Pace(clock, Timeframe.H1, 60.0)

    pace.looked(T0, found=False)

    assert pace.patience_s() == pytest.approx(2400 + SLACK_S[1])


def test_a_market_in_its_own_time_is_looked_at_by_the_pace_of_the_closes_heard() -> None:
    """A bar every four seconds: the next one is due in four, and late after two more."""
    clock = Hands(datetime(2026, 1, 1, tzinfo=UTC))
    pace = Pace(clock, Timeframe.H1, 60.0)
    for bar in range(3):
        pace.heard(T0 + bar * HOUR)
        clock.moved_s += 4.0
    clock.moved_s -= 3.0

    assert pace.patience_s() == pytest.approx(3.0 + 2.0)


def test_a_market_of_unknown_pace_is_looked_at_less_and_less() -> None:
    pace = Pace(Hands(datetime(2026, 1, 1, tzinfo=UTC)), Timeframe.H1, 60.0)
    waits = []
    for _ in range(8):
        waits.append(pace.patience_s())
        pace.looked(T0, found=False)

    assert [QUIET_S * 2**n for n in range(4)] == waits[:4]
    assert waits[-1] == LONGEST_QUIET_S
