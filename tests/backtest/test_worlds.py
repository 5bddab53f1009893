"""Made-up markets have the moments that arithmetic gives them; their bars hang together and come again from the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from desk.backtest.worlds import Bounce, Clusters, Diffusion, Jumps, Moments, Regimes, noise, panels
from desk.errors import ContractBroken

LAWS = {
    "diffusion": Diffusion(0.001, 0.01),
    "jumps": Jumps(0.0005, 0.01, 0.1, -0.015, 0.02),
    "regimes": Regimes((0.002, -0.004), (0.005, 0.02), (0.95, 0.9)),
    "clusters": Clusters(0.0003, 0.01, 0.06, 0.8, 20.0),
    "bounce": Bounce(0.0002, 0.01, 0.008),
}


@pytest.mark.parametrize("name", LAWS)
def test_averages_over_many_paths_agree_with_the_closed_forms(name: str) -> None:
    """Within five standard errors, raw moments about the stated mean: unbiased, and independent over paths."""
    told = LAWS[name].moments
    z = (LAWS[name].log_returns(2000, 128, np.random.default_rng(11)) - told.mean) / math.sqrt(told.variance)
    squares = z * z - 1

    averages = {
        "mean": (z.mean(axis=0), 0.0),
        "variance": ((z**2).mean(axis=0), 1.0),
        "skewness": ((z**3).mean(axis=0), told.skewness),
        "kurtosis": ((z**4).mean(axis=0), told.kurtosis),
        "neighbours": ((z[1:] * z[:-1]).mean(axis=0), told.neighbours),
        "squares": ((squares[1:] * squares[:-1]).mean(axis=0), told.squares * (told.kurtosis - 1)),
    }

    for moment, (found, expected) in averages.items():
        assert abs(found.mean() - expected) < 5 * found.std(ddof=1) / math.sqrt(len(found)), moment


def test_worlds_without_their_peculiarity_are_diffusions() -> None:
    plain = Moments(0.001, 0.0001, 0.0, 3.0, 0.0, 0.0)

    for world in (Jumps(0.001, 0.01, 0.0, 0.1, 0.1), Regimes((0.001, 0.001), (0.01, 0.01), (0.9, 0.8)), Bounce(0.001, 0.01, 0.0)):
        found = world.moments
        assert pytest.approx((0.001, 0.0001, 0.0, 3.0, 0.0, 0.0)) == (
            found.mean,
            found.variance,
            found.skewness,
            found.kurtosis,
            found.neighbours,
            found.squares,
        )
    assert plain == Diffusion(0.001, 0.01).moments


def test_shocks_without_clusters_have_the_kurtosis_of_student() -> None:
    """3 (n - 2) / (n - 4): 9 for five degrees of freedom."""
    assert math.isclose(9.0, Clusters(0.0, 0.01, 0.0, 0.0, 5.0).moments.kurtosis)


def test_a_fourth_moment_that_does_not_exist_is_not_told() -> None:
    found = Clusters(0.0, 0.01, 0.3, 0.6, 5.0).moments

    assert math.isnan(found.kurtosis)
    assert math.isnan(found.squares)
    assert math.isnan(Clusters(0.0, 0.01, 0.05, 0.6, 4.0).moments.kurtosis)


def test_a_pure_bounce_comes_back_half_the_time() -> None:
    """Roll 1984: without any other movement neighbours correlate by minus one half."""
    assert math.isclose(-0.5, Bounce(0.0, 0.0, 0.01).moments.neighbours)


@pytest.mark.parametrize("name", noise(0.01))
def test_noise_is_as_volatile_as_asked_and_expects_nothing(name: str) -> None:
    """The expected simple return is zero to third order: far below what any cost is."""
    world = noise(0.01)[name]
    drawn = np.expm1(world.log_returns(2000, 128, np.random.default_rng(5)))

    assert abs(drawn.mean()) < 5 * drawn.mean(axis=0).std(ddof=1) / math.sqrt(128)
    assert math.isclose(1.125 if name == "bounce" else 1.0, world.moments.variance / 0.01**2, rel_tol=1e-3)


def test_bars_open_where_the_last_one_closed_and_hold_their_prices() -> None:
    first, second = panels(LAWS["jumps"], 50, symbols=("A/USDT", "B/USDT"), n_panels=2, seed=4)

    np.testing.assert_array_equal(first.open[1:], first.close[:-1])
    assert (first.high >= np.maximum(first.open, first.close)).all()
    assert (first.low <= np.minimum(first.open, first.close)).all()
    assert not np.array_equal(first.close, second.close)
    assert np.timedelta64(1, "h") == first.bar_length


def test_the_same_seed_draws_the_same_markets() -> None:
    (one,) = panels(LAWS["regimes"], 30, symbols=("A/USDT",), n_panels=1, seed=9)
    (same,) = panels(LAWS["regimes"], 30, symbols=("A/USDT",), n_panels=1, seed=9)
    (other,) = panels(LAWS["regimes"], 30, symbols=("A/USDT",), n_panels=1, seed=10)

    np.testing.assert_array_equal(one.close, same.close)
    assert not np.array_equal(one.close, other.close)


def test_a_market_without_bars_is_refused() -> None:
    with pytest.raises(ContractBroken, match="found 0 bars"):
        panels(LAWS["diffusion"], 0, symbols=("A/USDT",), n_panels=1, seed=1)
