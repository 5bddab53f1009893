"""The gate: it says every reason it has, it promotes skill, and luck hardly ever passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from configs.learning import PromotionSettings
from models.evidence import Evidence, null_sharpe_variance
from models.promotion import Decision, decide

LIMITS = PromotionSettings()
N_BARS = 3000


def returns(sharpe: float, seed: int, n_bars: int = N_BARS) -> np.ndarray:
    """Net returns per bar with exactly this Sharpe ratio per bar and an sd of .005."""
    noise = np.random.default_rng(seed).standard_normal(n_bars)
    return 0.005 * ((noise - noise.mean()) / noise.std(ddof=1) + sharpe)


SKILLED = Evidence(returns(0.1, 1), returns(0.12, 2), n_trials=24, trial_sharpe_variance=0.02**2)
BASELINES = {"buy and hold": Evidence(returns(0.01, 3), returns(0.02, 4)), "linear": Evidence(returns(0.05, 5), returns(0.06, 6))}


def refusals(challenger: Evidence, champion: Evidence | None = None) -> list[str]:
    """Names of the checks that failed."""
    return [check.name for check in decide(challenger, champion, BASELINES, LIMITS).checks if not check.passed]


def test_skill_is_promoted() -> None:
    decision = decide(SKILLED, None, BASELINES, LIMITS)

    assert decision.promoted
    assert () == decision.reasons
    assert 0.12 == pytest.approx(decision.figures["holdout_sharpe"])


def test_the_deciding_figure_is_a_t_test_of_block_means() -> None:
    blocks = SKILLED.holdout_returns[N_BARS % LIMITS.block_bars :].reshape(-1, LIMITS.block_bars).mean(axis=1)

    figures = decide(SKILLED, None, BASELINES, LIMITS).figures

    assert stats.ttest_1samp(blocks, 0, alternative="greater").pvalue == pytest.approx(figures["holdout_p"])


def test_a_holdout_that_may_be_luck_is_refused() -> None:
    assert "holdout block t-test" in refusals(replace(SKILLED, holdout_returns=returns(0.02, 2)))


def test_the_number_of_trials_counts_against_the_model() -> None:
    assert ["deflated Sharpe over 24 trials"] == refusals(replace(SKILLED, trial_sharpe_variance=0.06**2))
    assert [] == refusals(replace(SKILLED, trial_sharpe_variance=0.06**2, n_trials=2))


def test_a_drawdown_beyond_the_limit_is_refused_wherever_it_happened() -> None:
    crash = np.concatenate((SKILLED.returns, [-0.55]))

    assert ["largest drawdown"] == refusals(replace(SKILLED, returns=crash, trial_sharpe_variance=0.0))


def test_a_model_no_better_than_a_baseline_on_the_holdout_is_refused() -> None:
    assert ["better than linear on the holdout"] == refusals(replace(SKILLED, holdout_returns=returns(0.06, 6)))


def test_a_model_worse_than_the_champion_is_refused_and_one_equal_to_it_too() -> None:
    better = replace(SKILLED, holdout_returns=returns(0.15, 8))

    assert ["better than champion on the holdout"] == refusals(SKILLED, better)
    assert ["better than champion on the holdout"] == refusals(SKILLED, SKILLED)
    assert [] == refusals(better, SKILLED)


def test_a_spent_holdout_is_refused() -> None:
    assert ["untouched holdout"] == refusals(replace(SKILLED, holdout_looks=1))


@pytest.mark.parametrize("name", ["returns", "holdout_returns"])
def test_nan_anywhere_refuses(name: str) -> None:
    broken = getattr(SKILLED, name).copy()
    broken[7] = np.nan

    assert "evidence" in refusals(replace(SKILLED, **{name: broken}))
    assert "evidence" in refusals(replace(SKILLED, trial_sharpe_variance=float("nan")))
    assert "evidence" in refusals(replace(SKILLED, **{name: np.array([])}))


def test_a_baseline_that_cannot_be_measured_refuses() -> None:
    unknown = Evidence(returns(0.01, 3), np.full(N_BARS, np.nan))

    assert not decide(SKILLED, None, {"linear": unknown}, LIMITS).promoted


def test_a_model_that_never_trades_is_refused_with_reasons() -> None:
    decision = decide(Evidence(np.zeros(N_BARS), np.zeros(N_BARS)), None, BASELINES, LIMITS)

    assert not decision.promoted
    assert "better than flat on the holdout: needed > 0, found Sharpe 0 per bar" in decision.reasons


def test_evidence_survives_json() -> None:
    again = Evidence.from_json(SKILLED.to_json())

    assert decide(SKILLED, None, BASELINES, LIMITS) == decide(again, None, BASELINES, LIMITS)


def test_the_variance_of_sharpe_ratios_without_skill_is_what_simulation_finds() -> None:
    drawn = np.random.default_rng(3).standard_normal((500, 20_000))
    found = drawn.mean(axis=0) / drawn.std(axis=0, ddof=1)

    assert np.var(found) == pytest.approx(null_sharpe_variance(500), rel=0.03)


def best_of(n_strategies: int, seed: int, *, skill: float) -> Decision:
    """Search n_strategies return streams, all of one per-bar Sharpe ratio, keep the best in sample, and ask the gate."""
    drawn = np.random.default_rng(seed).standard_normal((8000, n_strategies)) * 0.005 + skill * 0.005
    found = drawn[:4000].mean(axis=0) / drawn[:4000].std(axis=0)
    best = int(found.argmax())
    evidence = Evidence(drawn[:4000, best], drawn[4000:, best], n_trials=n_strategies, trial_sharpe_variance=null_sharpe_variance(4000))
    return decide(evidence, None, {}, LIMITS)


def test_of_two_hundred_best_of_forty_noise_searches_at_most_four_are_promoted() -> None:
    """4 of 200 proves a size of at most 4.5 % at 95 % confidence. The in-sample rule alone would promote all of them."""
    decisions = [best_of(40, seed, skill=0.0) for seed in range(200)]

    assert all(decision.figures["sharpe"] > 0 for decision in decisions)
    assert sum(decision.promoted for decision in decisions) <= 4


def test_strong_skill_found_by_the_same_search_is_promoted() -> None:
    assert sum(best_of(40, seed, skill=0.1).promoted for seed in range(20)) >= 19
