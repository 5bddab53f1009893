from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.risk.guards import GUARDS, Limits, Stake, Standing, check, daily_floor, drawdown_floor

LIMITS = Limits(position=0.5, gross=0.8, net=0.6, concentration=0.9, orders_per_minute=10)


def verdict(
    delta: int,
    held: int = 0,
    *,
    gross: float = 0.0,
    net: float = 0.0,
    sent: int = 0,
    reducing: bool = False,
    day_reducing: bool = False,
    equity: float = 1000.0,
) -> str:
    """What the guards say of an order at a price of 10 in lots of 1, on 1000 of equity."""
    return GUARDS[check(Stake(delta, held, 10.0, 1.0), Standing(equity, gross, net, sent, reducing, day_reducing), LIMITS)]


def test_an_order_within_every_limit_passes() -> None:
    assert "" == verdict(36)


def test_a_position_above_its_share_is_refused() -> None:
    assert "position" == verdict(51)


def test_a_short_counts_like_a_long() -> None:
    assert "position" == verdict(-51)


def test_a_position_of_exactly_its_limit_does_not_fail_on_the_last_bit_of_a_product() -> None:
    """Three lots of .1 at 1 are .30000000000000004 to a float, 30 % of 1 is less; a lot more is refused."""
    tenths = Limits(position=0.3, gross=0.3, net=0.3, concentration=1.0, orders_per_minute=10)

    verdicts = [check(Stake(lots, 0, 1.0, 0.1), Standing(1.0, 0.0, 0.0, 0, False, False), tenths) for lots in (3, 4)]

    assert ["", "position"] == [GUARDS[code] for code in verdicts]


def test_the_sum_of_positions_counts_what_is_already_held_elsewhere() -> None:
    assert "" == verdict(40, gross=400.0)
    assert "gross" == verdict(41, gross=400.0)


def test_a_net_position_above_its_limit_may_come_closer_to_nothing() -> None:
    assert "" == verdict(10, net=-900.0)
    assert "net" == verdict(-10, net=-900.0)


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
    assert "position" == verdict(1, equity=0.0)


def test_the_sum_of_signed_positions_is_limited_on_both_sides() -> None:
    assert "" == verdict(10, gross=500.0, net=500.0)
    assert "net" == verdict(11, gross=500.0, net=500.0)
    assert "net" == verdict(-11, gross=500.0, net=-500.0)


def test_a_net_position_beyond_its_limit_may_come_closer_to_nothing() -> None:
    assert "" == verdict(-10, gross=700.0, net=700.0)


def test_one_position_may_not_be_nearly_all_of_a_book() -> None:
    """450 of 500 is .9; of a book below half of the largest allowed gross (400) nobody asks."""
    assert "" == verdict(36)
    assert "" == verdict(45, gross=50.0)
    assert "concentration" == verdict(46, gross=50.0)


def test_orders_beyond_the_rate_are_refused_and_reducing_ones_are_not() -> None:
    assert "" == verdict(1, sent=9)
    assert "order_rate" == verdict(1, sent=10)
    assert "" == verdict(-1, held=5, sent=10)
