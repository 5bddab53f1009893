from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.execution.fills import fill_lots, fill_ticks, ration


@pytest.mark.parametrize("volume", [0.0, -1.0, math.nan])
def test_a_bar_without_volume_fills_nothing(volume: float) -> None:
    assert 0 == fill_lots(10, volume, 0.1, 0.5)


@given(order=st.integers(1, 10**9), volume=st.floats(1e-6, 1e9), lot=st.sampled_from([1e-5, 0.01, 1.0]), cap=st.floats(0.001, 1.0))
def test_no_fill_is_above_its_order_or_its_share_of_the_volume(order: int, volume: float, lot: float, cap: float) -> None:
    lots = fill_lots(order, volume, lot, cap)

    assert 0 <= lots <= order
    assert lots * lot <= cap * volume + 1e-9 * lot * (1 + lots)


@given(price=st.floats(0.01, 1e5), tick=st.sampled_from([0.0001, 0.01, 0.5]), spread=st.floats(0, 100), impact=st.floats(0, 100), share=st.floats(0.0, 1.0))
def test_a_fill_is_never_better_than_the_open(price: float, tick: float, spread: float, impact: float, share: float) -> None:
    bought, sold = (fill_ticks(price, tick, sign, spread, impact, share) for sign in (1, -1))

    assert bought * tick >= price * (1 - 1e-9) - 1e-9 * tick
    assert sold * tick <= max(price * (1 + 1e-9) + 1e-9 * tick, tick)


def test_spread_and_impact_move_the_price_before_it_is_rounded_against_us() -> None:
    """100 worse by 1 + 10 / 2 basis points is 100.06 or 99.94; to ticks of .05 that is 100.10 and 99.90."""
    assert 2002 == fill_ticks(100.0, 0.05, 1, 1.0, 10.0, 0.25)
    assert 1998 == fill_ticks(100.0, 0.05, -1, 1.0, 10.0, 0.25)


def test_enough_cash_grants_every_buy() -> None:
    assert [3, 5] == ration(np.array([3, 5]), np.array([10.0, 2.0]), 40.0).tolist()


def test_short_cash_cuts_all_alike_and_the_rest_goes_by_order() -> None:
    """Half of the 95 needed: 5 of 10 and 1 of 3 cost 40; the 7.5 left buy one more of the first."""
    assert [6, 1] == ration(np.array([10, 3]), np.array([5.0, 15.0]), 47.5).tolist()


@pytest.mark.parametrize("cash", [0.0, -3.0, math.nan])
def test_no_cash_buys_nothing(cash: float) -> None:
    assert [0, 0] == ration(np.array([10, 3]), np.array([5.0, 15.0]), cash).tolist()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(1e-4, 1e4)), min_size=1, max_size=6), st.floats(0, 1e6))
def test_a_ration_spends_no_more_than_there_is_and_leaves_no_lot_unbought(wishes: list[tuple[int, float]], cash: float) -> None:
    wanted, costs = np.array([lots for lots, _ in wishes]), np.array([cost for _, cost in wishes])

    granted = ration(wanted, costs, cash)

    left = cash - float(granted @ costs)
    assert (granted >= 0).all()
    assert (granted <= wanted).all()
    assert left >= -1e-9 * cash
    assert not ((granted < wanted) & (costs < left * (1 - 1e-9))).any()
