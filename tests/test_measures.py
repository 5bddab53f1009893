"""Against closed forms and against a plain second computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from desk import measures

some_returns = arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.2, 0.2).map(lambda value: round(value, 6)))


def test_sharpe_by_hand() -> None:
    """Mean .02, standard deviation .01: 2 a period, 4 a year of four periods."""
    assert pytest.approx(4.0) == measures.sharpe(np.array([0.01, 0.02, 0.03]), 4)


def test_sortino_by_hand() -> None:
    """Mean .01; the one loss of .02 over four periods is a downside of .01."""
    assert pytest.approx(math.sqrt(9)) == measures.sortino(np.array([0.02, -0.02, 0.02, 0.02]), 9)


def test_calmar_by_hand() -> None:
    """+50 % then -20 %: 20 % over two periods, one year; the fall is 20 %."""
    assert pytest.approx(1.0) == measures.calmar(np.array([0.5, -0.2]), 2)


def test_drawdown_is_measured_from_the_highest_peak_before_it() -> None:
    assert pytest.approx(0.6) == measures.max_drawdown(np.array([10.0, 20.0, 15.0, 25.0, 10.0, 40.0, 30.0]))
    assert 0.0 == measures.max_drawdown(np.array([1.0, 2.0, 3.0]))


def test_tail_measures_of_a_hundred_known_losses() -> None:
    """Losses of 1 to 100 per mille: the worst five average 98, and 95 % lie within the interpolated 95.05."""
    returns = -np.random.default_rng(1).permutation(np.arange(1, 101)) / 1000

    assert pytest.approx(0.098) == measures.expected_shortfall(returns)
    assert pytest.approx(0.09505) == measures.value_at_risk(returns)


def test_the_period_that_the_share_cuts_counts_in_part() -> None:
    """5 % of 30 periods are 1.5: the worst and half of the second worst."""
    returns = -np.arange(1, 31) / 100

    assert pytest.approx((0.30 + 0.5 * 0.29) / 1.5) == measures.expected_shortfall(returns)


def test_the_whole_of_all_periods_loses_their_mean() -> None:
    returns = np.array([0.03, -0.01, 0.02])

    assert pytest.approx(-returns.mean()) == measures.expected_shortfall(returns, 0.0)


def test_turnover_counts_what_was_traded_against_what_there_was() -> None:
    """Half the equity traded in a quarter of a year."""
    assert pytest.approx(2.0) == measures.turnover(500.0, np.full(25, 1000.0), 100)


def test_hit_rate_and_profit_factor_by_hand() -> None:
    returns = np.array([0.03, -0.01, 0.0, 0.01, -0.01])

    assert 0.5 == measures.hit_rate(returns)
    assert pytest.approx(2.0) == measures.profit_factor(returns)


def test_returns_are_one_fewer_than_marks() -> None:
    assert pytest.approx([0.5, -0.2]) == measures.returns_of(np.array([10.0, 15.0, 12.0])).tolist()
    assert np.isnan(measures.returns_of(np.array([0.0, 1.0]))[0])


@given(some_returns)
def test_against_a_plain_computation(returns: np.ndarray) -> None:
    sd = np.std(returns, ddof=1)
    if len(set(returns.tolist())) > 1:
        assert pytest.approx(np.mean(returns) / sd * math.sqrt(365), rel=1e-9) == measures.sharpe(returns, 365)
    equity = np.concatenate([[1.0], np.cumprod(1 + returns)])
    falls = [1 - equity[j] / equity[i] for i in range(len(equity)) for j in range(i, len(equity))]
    assert pytest.approx(max(falls), abs=1e-12) == measures.max_drawdown(equity)
    assert measures.expected_shortfall(returns) >= measures.value_at_risk(returns) - 1e-9


@given(some_returns, st.floats(0.1, 10))
def test_leverage_scales_losses_and_leaves_ratios_alone(returns: np.ndarray, factor: float) -> None:
    scaled = returns * factor

    assert pytest.approx(factor * measures.expected_shortfall(returns), abs=1e-12) == measures.expected_shortfall(scaled)
    assert pytest.approx(measures.sharpe(returns, 1), rel=1e-6, nan_ok=True) == measures.sharpe(scaled, 1)
    assert pytest.approx(measures.hit_rate(returns), nan_ok=True) == measures.hit_rate(scaled)


@pytest.mark.parametrize("name", ["sharpe", "sortino", "calmar"])
def test_a_ratio_to_nothing_is_undefined(name: str) -> None:
    measure = getattr(measures, name)

    assert math.isnan(measure(np.array([]), 365))
    assert math.isnan(measure(np.full(10, 0.1), 365))
    assert math.isnan(measure(np.array([0.1, math.nan, -0.1]), 365))


@pytest.mark.parametrize("name", ["value_at_risk", "expected_shortfall", "hit_rate", "profit_factor", "max_drawdown"])
def test_nothing_has_no_measure_and_neither_has_what_holds_a_nan(name: str) -> None:
    measure = getattr(measures, name)

    assert math.isnan(measure(np.array([])))
    assert math.isnan(measure(np.array([0.1, math.nan, -0.1])))


def test_ruin_has_no_growth() -> None:
    assert math.isnan(measures.calmar(np.array([0.1, -1.0]), 365))


@given(some_returns)
def test_one_return_at_a_time_ends_where_all_at_once_do(returns: np.ndarray) -> None:
    sharpe, sortino = measures.OnlineSharpe(), measures.OnlineSortino()
    for value in returns.tolist():
        sharpe.update(value)
        sortino.update(value)

    if len(set(returns.tolist())) > 1:
        assert pytest.approx(measures.sharpe(returns, 365), rel=1e-9, abs=1e-9) == sharpe.annual(365)
    assert pytest.approx(measures.sortino(returns, 365), rel=1e-9, abs=1e-9, nan_ok=True) == sortino.annual(365)


@pytest.mark.parametrize("kind", [measures.OnlineSharpe, measures.OnlineSortino])
@pytest.mark.parametrize("newest", [0.03, -0.02])
def test_the_differential_ratio_is_the_slope_of_the_ratio_in_the_decay(kind: type, newest: float) -> None:
    """Moody and Saffell expand the exponential ratio to first order in the decay: so does a tiny decay, numerically."""
    past = np.random.default_rng(5).normal(0.001, 0.01, 200).tolist()
    decay = 1e-7
    still, moved = kind(), kind()
    for value in past:
        still.update(value)
        moved.update(value)
    before = moved.annual(1) * (math.sqrt(200 / 199) if kind is measures.OnlineSharpe else 1)

    moved.decay = decay
    moved.update(newest)

    assert pytest.approx(still.update(newest), rel=1e-4) == (moved.annual(1) - before) / decay


def test_a_decaying_sharpe_ratio_is_that_of_exponential_weights() -> None:
    returns = np.random.default_rng(6).normal(0.001, 0.01, 300)
    online = measures.OnlineSharpe(decay=0.05)
    for value in returns.tolist():
        online.update(value)

    weights = 0.05 * 0.95 ** np.arange(299, -1, -1)
    weights[0] /= 0.05
    mean = np.sum(weights * returns)
    assert pytest.approx(mean / math.sqrt(np.sum(weights * (returns - mean) ** 2)) * 2, rel=1e-9) == online.annual(4)


def test_online_ratios_to_nothing_are_undefined() -> None:
    sharpe, sortino = measures.OnlineSharpe(), measures.OnlineSortino()

    assert math.isnan(sharpe.update(0.1))
    assert math.isnan(sortino.update(0.1))
    assert math.isnan(sharpe.annual(365))
    assert math.isnan(sortino.annual(365))
