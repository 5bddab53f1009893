"""Stops and gains in ticks of a cent, by hand: session and kernel share these functions, so that their agreement says nothing about them."""

from __future__ import annotations

import pytest

from desk.execution.levels import Levels, gain_level, nearer, stop_level


@pytest.mark.parametrize(
    ("sign", "close", "before", "level"),
    [
        (1, 100.0, 0, 98_00),
        (1, 110.0, 0, 107_80),
        (1, 104.0, 107_80, 107_80),
        (1, 112.0, 107_80, 109_76),
        (-1, 100.0, 0, 102_00),
        (-1, 90.0, 0, 91_80),
        (-1, 95.0, 91_80, 91_80),
        (-1, 88.0, 91_80, 89_76),
    ],
)
def test_a_trailing_stop_follows_the_best_close_and_never_goes_back(sign: int, close: float, before: int, level: int) -> None:
    """Entered at 100: 5 % from there, 2 % from the best close, whichever is reached first."""
    assert level == stop_level(Levels(stop=0.05, trail=0.02, gain=0.0), sign, (100.0, close), 0.01, before)


@pytest.mark.parametrize(("sign", "level"), [(1, 95_00), (-1, 105_00)])
def test_a_fixed_stop_stays_where_the_entry_put_it(sign: int, level: int) -> None:
    assert level == stop_level(Levels(stop=0.05, trail=0.0, gain=0.0), sign, (100.0, 140.0), 0.01, 99_99)


@pytest.mark.parametrize(("sign", "stop", "gain"), [(1, 31_36, 35_00), (-1, 35_30, 31_66)])
def test_between_two_ticks_stop_and_gain_take_the_one_further_from_the_entry(sign: int, stop: int, gain: int) -> None:
    """Of 33.333, long: 31.366353 and 34.99965; short: 35.299647 and 31.66635."""
    levels = Levels(stop=0.059, trail=0.0, gain=0.05)

    found = stop_level(levels, sign, (33.333, 33.333), 0.01, 0), gain_level(levels, sign, 33.333, 0.01)

    assert (stop, gain) == found


@pytest.mark.parametrize("sign", [1, -1])
def test_no_stop_is_further_away_than_any(sign: int) -> None:
    assert 7 == nearer(sign, 0, 7) == nearer(sign, 7, 0)
    assert 0 == nearer(sign, 0, 0)
    assert 0 == gain_level(Levels(0.05, 0.0, 0.0), sign, 100.0, 0.01)
