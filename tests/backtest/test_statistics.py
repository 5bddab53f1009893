"""Against the numbers printed in the papers, against closed forms, and against worlds in which the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from desk.backtest.statistics import (
    block_t_test,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    reality_check,
    superior_predictive_ability,
)
from desk.errors import ContractBroken


def noise(seed: int, n_rows: int, strategies: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (n_rows, strategies))


def test_the_probabilistic_sharpe_ratio_of_the_paper() -> None:
    """Bailey and Lopez de Prado 2012: two years of months at .458; .982 were they normal, .913 as they are."""
    assert 0.982 == round(probabilistic_sharpe_ratio(0.458, 24), 3)
    assert 0.913 == round(probabilistic_sharpe_ratio(0.458, 24, -2.448, 10.164), 3)


@pytest.mark.parametrize(("n_trials", "expected"), [(100, 0.9004), (46, 0.9505)])
def test_the_deflated_sharpe_ratio_of_the_paper(n_trials: int, expected: float) -> None:
    """Bailey and Lopez de Prado 2014: 2.5 a year over five years of days, skewness -3, kurtosis 10, variance of the trials .5 a year."""
    found = deflated_sharpe_ratio(2.5 / math.sqrt(250), 1250, -3.0, 10.0, n_trials=n_trials, trial_sharpe_variance=0.5 / 250)

    assert expected == round(found, 4)


def test_ten_trials_without_skill_are_expected_to_show_one_and_a_half() -> None:
    """1.57 in Bailey et al. 2014; and it is the mean of the best of ten normals, 1.5388, up to the approximation's two percent."""
    assert 1.57 == round(expected_maximum_sharpe(10), 2)
    assert pytest.approx(1.5388, rel=0.03) == expected_maximum_sharpe(10)


def test_a_single_trial_is_not_deflated() -> None:
    assert 0.0 == expected_maximum_sharpe(1, 0.5)
    assert probabilistic_sharpe_ratio(0.1, 500, -1.0, 6.0) == deflated_sharpe_ratio(0.1, 500, -1.0, 6.0, n_trials=1, trial_sharpe_variance=0.5)


def test_five_years_allow_no_more_than_forty_five_trials() -> None:
    """Bailey, Borwein, Lopez de Prado and Zhu 2014: the example after theorem 1, for an annual Sharpe ratio of 1."""
    assert minimum_backtest_length(45, 1.0) <= 5.0 < minimum_backtest_length(46, 1.0)


def test_a_record_of_minimum_length_is_just_convincing() -> None:
    """By definition: at that length the probabilistic Sharpe ratio is the confidence."""
    length = minimum_track_record_length(0.15, -0.7, 5.0, 0.05, 0.95)

    sigma = math.sqrt(1 + 0.7 * 0.15 + 0.15**2)
    assert pytest.approx(0.95) == stats.norm.cdf((0.15 - 0.05) * math.sqrt(length - 1) / sigma)
    assert math.isinf(minimum_track_record_length(0.05, 0.0, 3.0, 0.05, 0.95))


@pytest.mark.parametrize("found", [probabilistic_sharpe_ratio(math.nan, 100), probabilistic_sharpe_ratio(0.1, 1), expected_maximum_sharpe(0)])
def test_the_undefined_is_nan(found: float) -> None:
    assert math.isnan(found)


def test_the_best_of_many_without_skill_is_no_better_than_a_coin_out_of_sample() -> None:
    found = [probability_of_backtest_overfitting(noise(seed, 640, 20), n_splits=8) for seed in range(30)]

    assert pytest.approx(0.5, abs=0.1) == np.mean([each.pbo for each in found])
    assert 70 == len(found[0].logits)


def test_a_strategy_with_skill_stays_best_out_of_sample() -> None:
    returns = noise(1, 2000, 20)
    returns[:, 7] += 0.003

    assert 0.0 == probability_of_backtest_overfitting(returns, n_splits=10).pbo


def test_overfitting_needs_an_even_number_of_splits() -> None:
    with pytest.raises(ContractBroken, match="even number"):
        probability_of_backtest_overfitting(noise(1, 100, 3), n_splits=7)


@pytest.mark.parametrize("test", [reality_check, superior_predictive_ability])
def test_luck_is_called_skill_no_more_often_than_stated(test) -> None:
    """200 worlds without skill: at a size of 10 % about 20 alarms, binomial sd 4.2."""
    alarms = sum(test(noise(seed, 250, 8), mean_block_bars=4, n_resamples=200, seed=seed) < 0.1 for seed in range(200))

    assert 5 <= alarms <= 34


@pytest.mark.parametrize("test", [reality_check, superior_predictive_ability])
def test_skill_is_found_among_the_lucky(test) -> None:
    returns = noise(3, 1000, 10)
    returns[:, 4] += 0.0015

    assert test(returns, n_resamples=500) < 0.01


def test_poor_company_does_not_hide_a_good_strategy_from_the_consistent_test() -> None:
    """Hansen 2005: many bad and wild strategies raise White's p-value, not the studentised, recentred one."""
    random = np.random.default_rng(4)
    good = random.normal(0.0008, 0.01, (1000, 1))
    bad = random.normal(-0.01, 0.05, (1000, 40))

    both = np.concatenate([good, bad], axis=1)

    assert superior_predictive_ability(both, n_resamples=500) < 0.05 < reality_check(both, n_resamples=500)


def test_nothing_to_compare_is_undefined() -> None:
    assert math.isnan(superior_predictive_ability(np.zeros((100, 2))))


def test_blocks_of_one_are_the_ordinary_t_test() -> None:
    returns = noise(5, 300, 1)[:, 0]
    expected = stats.ttest_1samp(returns, 0.0, alternative="greater")

    assert (pytest.approx(expected.statistic), pytest.approx(expected.pvalue)) == block_t_test(returns, 1)


def test_the_oldest_rows_that_fill_no_block_are_left_out() -> None:
    returns = noise(6, 103, 1)[:, 0]

    assert block_t_test(returns[3:], 10) == block_t_test(returns, 10)


def test_dependent_returns_do_not_fool_blocks() -> None:
    """Returns that come in runs of 20: single rows call luck skill far too often, blocks of 40 hardly more than the stated 5 %."""
    random = np.random.default_rng(7)
    worlds = [np.repeat(random.normal(0, 0.01, 50), 20) for _ in range(300)]

    singles, blocks = (np.mean([block_t_test(world, bars)[1] < 0.05 for world in worlds]) for bars in (1, 40))

    assert singles > 0.25
    assert blocks < 0.1


@pytest.mark.parametrize("returns", [np.zeros(100), np.ones(15)])
def test_too_little_to_test_is_undefined(returns: np.ndarray) -> None:
    assert all(map(math.isnan, block_t_test(returns, 10)))
