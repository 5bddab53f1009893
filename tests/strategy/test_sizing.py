from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.strategy.sizing import order_lots

LOT = 0.1


def test_a_weight_becomes_the_lots_that_fit_into_it() -> None:
    """A quarter of 1000 at 30 is 8.33 coins: 83 lots of a tenth."""
    assert 83 == order_lots(0.25, 0, 1000.0, 30.0, LOT, 5.0, 0.02)


def test_a_short_is_the_mirror_of_a_long() -> None:
    assert -83 == order_lots(-0.25, 0, 1000.0, 30.0, LOT, 5.0, 0.02)


def test_only_the_difference_to_the_position_is_traded() -> None:
    assert -17 == order_lots(0.25, 100, 1000.0, 30.0, LOT, 5.0, 0.02)


def test_a_move_inside_the_band_is_no_order() -> None:
    """80 lots are a weight of .24: the wish of .25 is .01 away."""
    assert 0 == order_lots(0.25, 80, 1000.0, 30.0, LOT, 5.0, 0.02)


def test_flat_is_reached_however_close_it_is() -> None:
    """3 lots are a weight of .009, inside any band of .02."""
    assert -3 == order_lots(0.0, 3, 1000.0, 30.0, LOT, 5.0, 0.02)


def test_an_order_below_the_smallest_notional_is_no_order() -> None:
    assert 0 == order_lots(0.0, 1, 1000.0, 30.0, LOT, 5.0, 0.02)


@pytest.mark.parametrize("equity", [0.0, -50.0])
def test_without_equity_only_flat_can_be_held(equity: float) -> None:
    assert -100 == order_lots(0.5, 100, equity, 30.0, LOT, 5.0, 0.02)


@given(
    weight=st.floats(-1.0, 1.0),
    held=st.integers(-10_000, 10_000),
    equity=st.floats(1.0, 1e7),
    close=st.floats(1e-4, 1e5),
    band=st.floats(0.0, 0.1),
)
def test_an_order_never_overshoots_its_weight(weight: float, held: int, equity: float, close: float, band: float) -> None:
    delta = order_lots(weight, held, equity, close, LOT, 0.0, band)

    if delta:
        after = (held + delta) * LOT * close
        assert abs(after) <= abs(weight) * equity * (1 + 1e-9) + LOT * close * 1e-9
        assert after * weight >= 0
