"""Figures reported beside the promotion decision."""

from __future__ import annotations

import numpy as np
import pytest

from models.companions import beside
from models.evidence import Evidence

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
