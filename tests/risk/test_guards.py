from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.risk.guards import GUARDS, check, daily_floor, drawdown_floor


def verdict(delta: int, held: int = 0, *, gross: float = 0.0, reducing: bool = False, day_reducing: bool = False) -> str:
    """What the guards say of an order at a price of 10 in lots of 1, with 1000 of equity, half of it per position and .8 of it in all."""
    return GUARDS[check(delta, held, 10.0, 1.0, 1000.0, gross, reducing, day_reducing, 0.5, 0.8)]


def test_an_order_within_every_limit_passes() -> None:
    assert "" == verdict(50)


def test_a_position_above_its_share_is_refused() -> None:
    assert "position" == verdict(51)


def test_a_short_counts_like_a_long() -> None:
    assert "position" == verdict(-51)


def test_the_sum_of_positions_counts_what_is_already_held_elsewhere() -> None:
    assert "" == verdict(40, gross=400.0)
    assert "gross" == verdict(41, gross=400.0)


def test_guards_are_asked_in_their_order() -> None:
    assert "drawdown" == verdict(60, gross=900.0, reducing=True, day_reducing=True)
    assert "daily_loss" == verdict(60, gross=900.0, day_reducing=True)
    assert "position" == verdict(60, gross=900.0)


@given(held=st.integers(-200, 200), delta=st.integers(-400, 400), gross=st.floats(0, 1e4), reducing=st.booleans(), day_reducing=st.booleans())
def test_what_brings_a_position_closer_to_flat_always_passes(held: int, delta: int, gross: float, reducing: bool, day_reducing: bool) -> None:
    code = verdict(delta, held, gross=gross, reducing=reducing, day_reducing=day_reducing)

    if abs(held + delta) < abs(held):
        assert "" == code
    elif reducing:
        assert "drawdown" == code


@pytest.mark.parametrize(("equity", "breached"), [(81.0, False), (80.0, True), (79.0, True)])
def test_a_limit_is_breached_when_it_is_reached(equity: float, breached: bool) -> None:
    assert breached is (equity <= drawdown_floor(100.0, 0.2))
    assert breached is (equity <= daily_floor(100.0, 0.2))


def test_without_equity_no_position_grows() -> None:
    assert "position" == GUARDS[check(1, 0, 10.0, 1.0, 0.0, 0.0, False, False, 0.5, 0.8)]
