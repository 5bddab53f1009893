"""Figures reported beside the promotion decision."""

from __future__ import annotations

import numpy as np
import pytest

from models.companions import beside
from models.evidence import Evidence, effective_trials

BARS_PER_YEAR = 8760


def drawn(seed: int, skill: float) -> Evidence:
    returns = np.random.default_rng(seed).standard_normal(4000) * 0.005 + skill * 0.005
    return Evidence(returns, returns[:500], n_trials=30, trial_sharpe_variance=1 / 4000)


def test_skill_is_not_luck_by_any_of_the_figures() -> None:
    figures = beside(drawn(1, 0.1), {"linear": drawn(2, 0.0)}, BARS_PER_YEAR)

    assert figures["reality_check_p"] < 0.01
    assert figures["superior_predictive_ability_p"] < 0.01
    assert figures["probability_of_backtest_overfitting"] < 0.05


def test_noise_is_luck_by_the_tests_that_count_it() -> None:
    pairs = [beside(drawn(seed, 0.0), {"linear": drawn(seed + 100, 0.0)}, BARS_PER_YEAR) for seed in range(10)]

    assert sum(figures["superior_predictive_ability_p"] < 0.01 for figures in pairs) <= 1


def test_the_minimum_track_record_of_gaussian_returns_is_the_closed_form() -> None:
    """At Sharpe s with normal returns: 1 + (1 + s^2 / 2) (1.6449 / s)^2 bars."""
    evidence = drawn(3, 0.2)

    expected = 1 + (1 + evidence.sharpe**2 / 2) * (1.6448536 / evidence.sharpe) ** 2

    assert expected == pytest.approx(beside(evidence, {"linear": drawn(4, 0.0)}, BARS_PER_YEAR)["minimum_track_record_bars"], rel=0.03)


def test_a_strategy_that_never_traded_has_no_track_record_to_speak_of() -> None:
    flat = Evidence(np.zeros(4000), np.zeros(500))

    assert not np.isfinite(beside(flat, {"linear": drawn(5, 0.0)}, BARS_PER_YEAR)["minimum_track_record_bars"])


def test_an_edge_that_faded_shows_in_what_was_lately() -> None:
    faded = drawn(6, 0.1)
    returns = np.concatenate([faded.returns, np.random.default_rng(7).standard_normal(3000) * 0.005 - 0.0002])

    figures = beside(Evidence(returns, returns[:500]), {"linear": Evidence(np.zeros(7000), np.zeros(500))}, BARS_PER_YEAR)

    assert figures["recent_sharpe"] < 0 < figures["sharpe_high"]
    assert figures["recent_sortino"] < 0


def test_trials_that_earned_alike_deflate_less_than_their_count() -> None:
    """A study of four copies and one of three strangers, and one trial that left no record: about 1 + 3 + 1."""
    random = np.random.default_rng(8)
    copied, strangers = random.standard_normal(64), random.standard_normal((3, 64))
    trials = [{"study": "a", "earned": (copied * scale).tolist()} for scale in (1, 2, 3, 4)]
    trials += [{"study": "b", "earned": row.tolist()} for row in strangers] + [{"study": "c", "earned": None}]

    found = effective_trials(trials)

    assert found == pytest.approx(5.0, abs=0.1)
    evidence = Evidence(drawn(9, 0.03).returns, np.zeros(10), n_trials=8, trial_sharpe_variance=1 / 4000, effective_trials=found)
    assert evidence.deflated_sharpe < beside(evidence, {"linear": drawn(5, 0.0)}, BARS_PER_YEAR)["deflated_sharpe_effective"]
