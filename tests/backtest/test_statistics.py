"""Against the numbers printed in the papers, against closed forms, and against worlds in which the truth is known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from desk.backtest.statistics import (
    average_uniqueness,
    benjamini_hochberg,
    block_t_test,
    deflated_sharpe_ratio,
    effective_number_of_trials,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    optimal_block_bars,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    reality_check,
    sequential_bootstrap,
    sharpe_interval,
    stationary_bootstrap,
    superior_predictive_abilities,
    superior_predictive_ability,
)
from desk.backtest.statistics.resampling import long_run_variance
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


def test_overfitting_is_counted_as_the_paper_counts_it() -> None:
    """Split by split, with other people's ranks: two strategies are the same, an odd number leaves a middle rank, the oldest rows fill no span."""
    returns = noise(13, 62, 4)
    returns = np.column_stack([returns, returns[:, 1]])
    returns[:2] = np.random.default_rng(1).normal(0, 10, (2, 5))
    spans, ranks = np.split(returns[2:], 6), []
    for chosen in combinations(range(6), 3):
        inside = np.concatenate([spans[span] for span in chosen])
        outside = np.concatenate([spans[span] for span in range(6) if span not in chosen])
        best = int(np.argmax(np.round(inside.mean(axis=0) / inside.std(axis=0), 12)))
        ranks.append(stats.rankdata(np.round(outside.mean(axis=0) / outside.std(axis=0), 12))[best])
    shares = np.array(ranks) / 6

    found = probability_of_backtest_overfitting(returns, n_splits=6)

    assert {0.5} < set(shares.tolist())
    assert np.mean(shares <= 0.5) == found.pbo
    assert pytest.approx(np.log(shares / (1 - shares)), abs=1e-12) == found.logits


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


@pytest.mark.parametrize("copies", [1, 4])
def test_copies_of_a_trial_count_once(copies: int) -> None:
    """Five independent trials, each as often as said: five, but for the correlations that 20,000 periods leave by chance."""
    returns = np.repeat(noise(8, 20000, 5), copies, axis=1)

    assert pytest.approx(5.0, rel=1e-3) == effective_number_of_trials(returns)


def test_trials_that_never_moved_do_not_count() -> None:
    assert pytest.approx(1.0) == effective_number_of_trials(np.column_stack([noise(1, 100, 1), np.zeros(100)]))
    assert math.isnan(effective_number_of_trials(np.zeros((100, 3))))
    with pytest.raises(ContractBroken, match="stack the trials"):
        effective_number_of_trials(np.zeros(100))


@pytest.mark.parametrize("shared", [0.2, 0.5, 0.8])
def test_a_factor_common_to_all_trials_is_not_deflated_too_little(shared: float) -> None:
    """The best of 50 Sharpe ratios that correlate by `shared` is in truth sqrt(1 - shared) times the best of 50 independent ones."""
    random = np.random.default_rng(9)
    returns = math.sqrt(shared) * random.normal(size=(20000, 1)) + math.sqrt(1 - shared) * random.normal(size=(20000, 50))

    effective = effective_number_of_trials(returns)

    assert 1 < effective < 50
    assert expected_maximum_sharpe(effective) >= math.sqrt(1 - shared) * expected_maximum_sharpe(50)


@pytest.mark.parametrize("n_trials", [1.0, 1.01, 1.2, 1.5, 2.0])
def test_more_trials_are_never_expected_to_do_worse(n_trials: float) -> None:
    assert 0.0 <= expected_maximum_sharpe(n_trials) <= expected_maximum_sharpe(n_trials + 0.3)


def test_resampled_blocks_are_as_long_as_asked_on_average_and_wrap_around() -> None:
    """A block ends with chance 1 / 10 at each row; it also seems to go on when the next begins by chance where it ended."""
    rows = np.concatenate(list(stationary_bootstrap(500, mean_block_bars=10, n_resamples=200, seed=1)))

    broken = np.mean(np.diff(rows.reshape(200, 500), axis=1) % 500 != 1)
    assert pytest.approx(0.1, rel=0.05) == broken
    assert set(range(500)) == set(rows.tolist())
    assert pytest.approx(1.0, rel=0.05) == np.bincount(rows, minlength=500)[:5].mean() / np.bincount(rows, minlength=500).mean()


def test_the_same_seed_draws_the_same_resamples_and_blocks_shorter_than_a_bar_are_refused() -> None:
    first, second = (next(stationary_bootstrap(50, mean_block_bars=3, n_resamples=1, seed=4)) for _ in range(2))

    assert first.tolist() == second.tolist()
    with pytest.raises(ContractBroken, match="at least one bar"):
        next(stationary_bootstrap(50, mean_block_bars=0.5, n_resamples=1, seed=4))


def test_what_remembers_longer_needs_longer_blocks() -> None:
    plain = noise(10, 2000, 1)[:, 0]
    smooth = np.convolve(plain, np.ones(20) / 20, "valid")

    assert optimal_block_bars(plain) < 5 < optimal_block_bars(smooth)
    assert optimal_block_bars(smooth) == optimal_block_bars(np.column_stack([plain[19:], smooth]))
    assert 1.0 == optimal_block_bars(np.zeros(100)) == optimal_block_bars(plain[:5])


def test_an_interval_of_the_sharpe_ratio_covers_the_truth_as_often_as_it_says() -> None:
    """100 worlds of a true ratio of .1: 90 intervals of 90 % hold it, binomial sd 3."""
    worlds = np.random.default_rng(11).normal(0.1, 1.0, (100, 300))

    intervals = [sharpe_interval(world, mean_block_bars=1, n_resamples=200) for world in worlds]

    assert 80 <= sum(low <= 0.1 <= high for low, high in intervals) <= 98
    assert all(map(math.isnan, sharpe_interval(np.zeros(100))))


def test_one_block_without_end_is_the_sample_itself_and_so_is_its_sharpe_ratio() -> None:
    """Every resample is then the sample turned round: both bounds are its own ratio, with the standard deviation of ddof 1."""
    returns = noise(14, 12, 1)[:, 0] + 0.005

    expected = float(returns.mean() / returns.std(ddof=1))

    assert pytest.approx((expected, expected), rel=1e-9) == sharpe_interval(returns, mean_block_bars=1e15, n_resamples=20)


@pytest.mark.parametrize("mean_block", [1.0, 3.0, 40.0])
def test_the_variance_of_the_bootstrap_is_that_of_a_series_whose_end_meets_its_start(mean_block: float) -> None:
    """Politis and Romano 1994: rows k apart stay together with chance (1 - 1 / block)^k, and count (1 - k / n) times, in autocovariances round the ring."""
    returns = noise(15, 25, 2)
    centred, n = returns - returns.mean(axis=0), len(returns)
    ring = [(centred * np.roll(centred, -lag, axis=0)).mean(axis=0) for lag in range(n)]

    expected = ring[0] + 2 * sum((1 - lag / n) * (1 - 1 / mean_block) ** lag * ring[lag] for lag in range(1, n))

    assert pytest.approx(expected, rel=1e-9) == long_run_variance(returns, mean_block)


@pytest.mark.parametrize("test", [reality_check, superior_predictive_ability])
def test_what_no_resample_reaches_is_as_likely_luck_as_one_draw_more(test) -> None:
    """Never 0: of 99 resamples and the sample itself only the sample is as good."""
    assert 1 / 100 == test(noise(16, 300, 2) + 0.05, mean_block_bars=2, n_resamples=99)


@pytest.mark.parametrize("seed", range(5))
def test_hansens_p_values_stand_in_their_order(seed: int) -> None:
    returns = noise(seed, 300, 6) + np.linspace(-0.002, 0.0005, 6)

    found = superior_predictive_abilities(returns, n_resamples=300)

    assert found.lower <= found.consistent <= found.upper
    assert found.consistent == superior_predictive_ability(returns, n_resamples=300)


def test_four_of_fifteen_are_discoveries() -> None:
    """Benjamini and Hochberg 1995, section 4.1: at a false discovery rate of 5 % the four smallest p-values are significant."""
    p_values = np.array(
        [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000],
    )

    adjusted = benjamini_hochberg(p_values)

    assert 4 == np.sum(adjusted <= 0.05)
    assert pytest.approx(0.0095 * 15 / 4) == adjusted[3]


def test_what_was_not_tested_does_not_count() -> None:
    adjusted = benjamini_hochberg(np.array([0.01, math.nan, 0.04]))

    assert [0.02, 0.04] == pytest.approx(adjusted[[0, 2]].tolist())
    assert math.isnan(adjusted[1])


def test_the_uniqueness_of_three_labels_by_hand() -> None:
    """Rows 0-2, 2-3 and 4-5: row 2 is shared by the first two. Lopez de Prado 2018, the labels of section 4.5.3."""
    unique = average_uniqueness(np.array([0, 2, 4]), np.array([2, 3, 5]))

    assert [5 / 6, 3 / 4, 1.0] == pytest.approx(unique.tolist())


def test_the_second_draw_has_the_chances_of_the_book() -> None:
    """Lopez de Prado 2018, section 4.5.3: after the second label the chances are 5/14, 3/14 and 6/14; 4 sds of 8,000 draws are .022."""
    starts, ends = np.array([0, 2, 4]), np.array([2, 3, 5])
    draws = np.array([sequential_bootstrap(starts, ends, 2, seed=seed) for seed in range(8000)])

    second = draws[draws[:, 0] == 1, 1]

    assert [5 / 14, 3 / 14, 6 / 14] == pytest.approx((np.bincount(second, minlength=3) / len(second)).tolist(), abs=4 * math.sqrt(0.25 / len(second)))


def test_sequential_draws_say_less_again_than_even_draws() -> None:
    starts = np.arange(0, 200)
    ends = starts + 9

    drawn = [sequential_bootstrap(starts, ends, 30, seed=seed) for seed in range(20)]
    even = [np.random.default_rng(seed).integers(0, 200, 30) for seed in range(20)]

    assert np.mean([average_uniqueness(starts[rows], ends[rows]).mean() for rows in drawn]) > np.mean(
        [average_uniqueness(starts[rows], ends[rows]).mean() for rows in even]
    )


def test_a_label_must_not_end_before_it_starts() -> None:
    with pytest.raises(ContractBroken, match="none before its start"):
        average_uniqueness(np.array([3]), np.array([2]))
