"""Splitting capital, against closed forms and against numbers of independent optimisers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from desk.strategy.allocation import (
    Floats,
    aim_discount,
    equal_risk,
    ewma_covariance,
    fitted,
    hierarchical,
    kelly,
    mean_variance,
    patience,
    shrunk_correlation,
    volatility_target,
)

COVARIANCE = np.array([[4.0, 1.2, 0.6, -0.3], [1.2, 1.0, 0.2, 0.1], [0.6, 0.2, 2.25, 0.9], [-0.3, 0.1, 0.9, 9.0]]) * 1e-4
MEAN = np.array([3.0, 1.0, -2.0, 4.0]) * 1e-4


def random_covariance(random: np.random.Generator, n_assets: int) -> Floats:
    loadings = random.normal(size=(n_assets, 2 * n_assets))
    deviation = random.uniform(0.002, 0.05, n_assets)
    covariance = loadings @ loadings.T
    return covariance / np.outer(*2 * [np.sqrt(np.diag(covariance))]) * np.outer(deviation, deviation)


def test_two_assets_take_the_markowitz_weights() -> None:
    """Inverse of a two by two matrix, by hand."""
    a, b, both = 0.02, 0.03, 0.3 * 0.02 * 0.03
    mean, covariance = np.array([0.001, 0.002]), np.array([[a * a, both], [both, b * b]])
    determinant = (a * b) ** 2 - both * both
    expected = np.array([b * b * 0.001 - both * 0.002, a * a * 0.002 - both * 0.001]) / determinant / 4.0

    assert_allclose(mean_variance(mean, covariance, 4.0, largest=10, gross=100, shorts=True), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("shorts", "largest", "gross", "aversion", "expected"),
    [
        (False, 1.0, 10.0, 1.0, [0.78027848, 0.01663894, 0.0, 0.47026885]),
        (False, 0.4, 0.6, 1.0, [0.33676471, 0.0, 0.0, 0.26323529]),
        (False, 0.25, 5.0, 1.0, [0.25, 0.25, 0.0, 0.25]),
        (False, 0.9, 0.5, 0.3, [0.09681373, 0.0, 0.0, 0.40318627]),
        (True, 1.0, 10.0, 1.0, [0.93817322, 0.01663894, -1.0, 0.57553201]),
        (True, 0.4, 0.6, 1.0, [0.25720816, 0.0, -0.11270511, 0.23008673]),
    ],
)
def test_limited_mean_variance_weights_are_those_of_a_cone_solver(shorts: bool, largest: float, gross: float, aversion: float, expected: list[float]) -> None:
    """Numbers of cvxpy 1.9 with Clarabel, tolerances 1e-13."""
    assert_allclose(mean_variance(MEAN, COVARIANCE, aversion, largest=largest, gross=gross, shorts=shorts), expected, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_assets=st.integers(1, 12), largest=st.floats(0.01, 2), gross=st.floats(0.01, 3), shorts=st.booleans())
def test_no_step_inside_the_limits_improves_a_mean_variance_portfolio(seed: int, n_assets: int, largest: float, gross: float, shorts: bool) -> None:
    """A concave objective: what no small step towards any allowed portfolio improves is best."""
    random = np.random.default_rng(seed)
    covariance, mean = random_covariance(random, n_assets), random.normal(2e-4, 1e-3, n_assets)

    weights = mean_variance(mean, covariance, 3.0, largest=largest, gross=gross, shorts=shorts)

    assert np.abs(weights).max() <= largest
    assert np.abs(weights).sum() <= gross * (1 + 1e-9)
    assert shorts or weights.min() >= 0
    for _ in range(50):
        towards = fitted(random.normal(size=n_assets) * random.choice([0, 1, 5], n_assets), largest, gross) * random.uniform()
        gradient = mean - 3.0 * covariance @ weights
        assert gradient @ ((towards if shorts else np.abs(towards)) - weights) <= 1e-9 * np.abs(mean).max()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_assets=st.integers(1, 20))
def test_equal_risk_weights_add_equal_risks(seed: int, n_assets: int) -> None:
    covariance = random_covariance(np.random.default_rng(seed), n_assets)

    weights = equal_risk(covariance)
    contributions = weights * (covariance @ weights) / (weights @ covariance @ weights)

    assert_allclose(contributions, 1 / n_assets, rtol=1e-9)
    assert_allclose(weights.sum(), 1, rtol=1e-12)


def test_equal_risk_between_two_assets_is_the_inverse_of_their_deviations_whatever_the_correlation() -> None:
    for correlation in (-0.9, 0.0, 0.6):
        both = correlation * 0.01 * 0.03

        assert_allclose(equal_risk(np.array([[1e-4, both], [both, 9e-4]])), [0.75, 0.25], rtol=1e-10)


def test_risk_based_weights_are_those_of_an_independent_library() -> None:
    """skfolio 1.12: RiskBudgeting on variance, and HierarchicalRiskParity with single linkage (same order of assets), on returns of this covariance."""
    assert_allclose(equal_risk(COVARIANCE), [0.1920994939, 0.3786516681, 0.2722423048, 0.1570065332], atol=1e-6)
    assert_allclose(hierarchical(COVARIANCE), [0.1276283619, 0.5105134474, 0.2894865526, 0.0723716381], atol=1e-9)


def test_hierarchical_risk_parity_halves_between_blocks_and_inside_them() -> None:
    """Two blocks of two alike assets, the second twice as volatile: variances 1 to 4, so 4/5 and 1/5, halved inside. Mixed up, so order must be found."""
    inside, deviation = np.array([[1, 0.8], [0.8, 1]]), np.array([0.01, 0.02, 0.01, 0.02])
    correlation = np.full((4, 4), 0.1)
    for block in ([0, 2], [1, 3]):
        correlation[np.ix_(block, block)] = inside

    assert_allclose(hierarchical(correlation * np.outer(deviation, deviation)), [0.4, 0.1, 0.4, 0.1], rtol=1e-12)


@pytest.mark.parametrize("split", [equal_risk, hierarchical])
def test_one_asset_takes_it_all(split: object) -> None:
    assert [1.0] == split(np.array([[4e-4]])).tolist()  # type: ignore[operator]


def test_the_kelly_fraction_grows_wealth_fastest() -> None:
    """Mean over variance, and for lognormal returns the maximum of the expected log of wealth, by quadrature over short steps."""
    mean_log, sd = 2e-4, 0.01
    best = float(kelly(np.array([mean_log + sd * sd / 2]), np.array([sd * sd]))[0])
    nodes, mass = np.polynomial.hermite_e.hermegauss(60)
    growth = [float(mass @ np.log1p(size * np.expm1(mean_log + sd * nodes))) for size in (best - 0.05, best, best + 0.05)]

    assert_allclose(best, mean_log / sd**2 + 0.5, rtol=1e-12)
    assert growth[1] > max(growth[0], growth[2])


def test_an_exponential_covariance_weighs_like_its_definition() -> None:
    """Two returns, mean age 1: the newer one counts twice."""
    closes = np.array([[100.0, 50.0], [110.0, 49.0], [99.0, 49.98]])
    older, newer = np.array([0.1, -0.02]), np.array([-0.1, 0.02])

    assert_allclose(ewma_covariance(closes, 1), (np.outer(older, older) + 2 * np.outer(newer, newer)) / 3, rtol=1e-12)


def test_shrinking_draws_correlations_to_zero_and_makes_any_matrix_definite() -> None:
    twins = np.array([[4.0, 4.0], [4.0, 4.0]])

    assert_allclose(shrunk_correlation(twins, 0.1), [[1, 0.9], [0.9, 1]], rtol=1e-12)
    assert_allclose(shrunk_correlation(twins, 1.0), np.eye(2))


def test_a_target_of_volatility_is_met() -> None:
    weights = volatility_target(np.array([0.5, -0.2, 0.0, 0.1]), COVARIANCE, 0.003)

    assert_allclose(math.sqrt(weights @ COVARIANCE @ weights), 0.003, rtol=1e-12)
    assert [0.0] * 4 == volatility_target(np.zeros(4), COVARIANCE, 0.003).tolist()


@pytest.mark.slow
def test_sizes_never_breach_their_caps() -> None:
    """A hundred thousand random states, wild ones among them."""
    random = np.random.default_rng(5)
    for _ in range(100_000 // 5):
        weights = random.standard_cauchy((5, 4)) * random.choice([0.0, 1e-9, 1.0, 1e6])
        largest, gross = random.uniform(0.01, 1, 2)
        for row in weights:
            found = fitted(row, largest, gross)
            assert max(map(abs, found.tolist())) <= largest * (1 + 1e-12)
            assert sum(map(abs, found.tolist())) <= gross * (1 + 1e-12)


@pytest.mark.parametrize("cost", [0.01, 1.0, 40.0, 2500.0])
@pytest.mark.parametrize("decay", [0.0, 0.1, 0.7])
def test_partial_adjustment_is_the_solution_of_the_control_problem(cost: float, decay: float) -> None:
    """Value iteration of: earn x * f, pay aversion * x**2 / 2 for risk and cost * dx**2 / 2 for trading (unit variance), f loses `decay` a bar."""
    aversion, square, cross = 5.0, 0.0, 0.0
    for _ in range(20_000):
        total = aversion + cost + square
        square, cross = cost * (aversion + square) / total, cost * (1 + cross * (1 - decay)) / total
    total = aversion + cost + square
    held, signal = 0.3, 2.0

    expected = (signal + cost * held + cross * (1 - decay) * signal) / total
    aim = signal / aversion / aim_discount(aversion, cost, decay)

    assert_allclose(held + patience(aversion, cost) * (aim - held), expected, rtol=1e-9)


def test_free_trading_goes_all_the_way_at_once() -> None:
    assert 1.0 == patience(5.0, 0.0)
    assert 1.0 == aim_discount(5.0, 0.0, 0.5)
