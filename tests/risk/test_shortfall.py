"""Expected shortfall against quadrature, the normal distribution of two assets, and matrices; order by order, as session and kernel ask for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import quad

from desk.risk.guards import Stake
from desk.risk.shortfall import Moves, Prospect, admit, begin, cell, count, shortfall_after, shortfall_factor

LEVEL = 0.975


def book_of(values: list[float], covariance: NDArray[np.float64], most: float = 0.0, *, arrays: bool = False) -> Prospect:
    """A book whose returns have this covariance: what was counted weighs 2 in all. On lists, or on arrays as the kernel has it."""
    size = len(values)
    sums = [2 * float(covariance[row, column]) for row in range(size) for column in range(row + 1)]
    wrap = (lambda numbers: np.array(numbers)) if arrays else list
    moves = Moves(wrap(sums), wrap([2.0, 10.0]), wrap([1.0] * size), wrap([math.nan] * size), 0.9, 10)
    prospect = Prospect(moves, wrap(values), wrap([0.0] * size), most, shortfall_factor(LEVEL))
    begin(prospect)
    return prospect


@pytest.mark.parametrize("level", [0.9, 0.975, 0.99])
def test_the_closed_form_is_the_integral_over_the_tail(level: float) -> None:
    beyond, _ = quad(lambda gain: -gain * stats.norm.pdf(gain), -np.inf, stats.norm.ppf(1 - level))

    assert beyond / (1 - level) == pytest.approx(shortfall_factor(level), rel=1e-9)


@given(one=st.floats(-1e4, 1e4), other=st.floats(-1e4, 1e4), change=st.floats(-1e4, 1e4), correlation=st.floats(-0.99, 0.99))
def test_two_normal_assets_have_the_shortfall_of_their_sum(one: float, other: float, change: float, correlation: float) -> None:
    """Gains a*X + b*Y of standard deviations 1 % and 3 % and a correlation are normal: the closed form, by hand."""
    cross = correlation * 0.01 * 0.03
    book = book_of([one, other], np.array([[1e-4, cross], [cross, 9e-4]]))

    told = shortfall_after(book, 1, change)

    after = other + change
    variance = (one * 0.01) ** 2 + (after * 0.03) ** 2 + 2 * one * after * cross
    quantile = stats.norm.ppf(LEVEL)
    assert math.sqrt(max(variance, 0.0)) * stats.norm.pdf(quantile) / (1 - LEVEL) == pytest.approx(told, rel=1e-9, abs=1e-9 * (1 + abs(change)))


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6))
def test_order_by_order_it_is_the_matrix_product_of_the_book_as_it_stands(seed: int, size: int) -> None:
    """What is kept between orders is never told apart from what is made anew; and lists say to the bit what arrays say."""
    random = np.random.default_rng(seed)
    returns = random.normal(0, 0.02, (30, size))
    covariance, values = returns.T @ returns / 30, random.normal(0, 1000, size)
    lists, arrays = (book_of(values.tolist(), covariance, most=0.9, arrays=kind) for kind in (False, True))

    for _ in range(8):
        symbol, lots = int(random.integers(size)), int(random.integers(-50, 50))
        order = Stake(lots, int(random.integers(-20, 20)), float(random.uniform(1, 20)), 1.0)
        change = lots * order.close
        said = shortfall_after(lists, symbol, change)
        wanted = values + change * (np.arange(size) == symbol)
        assert math.sqrt(wanted @ covariance @ wanted) * shortfall_factor(LEVEL) == pytest.approx(said, rel=1e-9)
        assert said == shortfall_after(arrays, symbol, change)
        granted = admit(lists, symbol, order, 100.0)
        assert granted == admit(arrays, symbol, order, 100.0)
        grows = abs(order.position_lots + lots) >= abs(order.position_lots)
        assert granted == (not grows or said <= 0.9 * 100.0)
        values = wanted if granted else values


def test_a_refused_order_leaves_the_book_and_a_reducing_one_always_passes() -> None:
    book = book_of([1000.0], np.array([[1e-4]]), most=0.01)

    assert not admit(book, 0, Stake(1, 100, 10.0, 1.0), 1000.0)
    assert [1000.0] == book.values
    assert admit(book, 0, Stake(-20, 100, 10.0, 1.0), 1000.0)
    assert [800.0] == book.values


def test_nothing_counts_before_every_symbol_has_a_close() -> None:
    """The second symbol comes an event later and is then silent: its return is 0, the other's counts."""
    moves = Moves([0.0] * 3, [0.0, 0.0], [math.nan] * 2, [math.nan] * 2, 0.5, 1)
    for fresh in ([100.0, math.nan], [110.0, 50.0], [121.0, math.nan]):
        moves.fresh[:] = fresh
        count(moves)

    assert [1.0, 1.0] == moves.tally
    assert [pytest.approx(0.01), 0.0, 0.0] == [moves.sums[cell(0, 0)], moves.sums[cell(0, 1)], moves.sums[cell(1, 1)]]
    assert [121.0, 50.0] == moves.closes
