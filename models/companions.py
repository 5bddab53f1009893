"""What stands beside the decision: figures that are reported with it and do not make it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew

from desk.backtest.statistics import (
    benjamini_hochberg,
    block_t_test,
    minimum_backtest_length,
    minimum_track_record_length,
    probability_of_backtest_overfitting,
    reality_check,
    sharpe_interval,
    superior_predictive_abilities,
)
from desk.measures import OnlineSharpe, OnlineSortino
from models.evidence import Evidence

# Spans of the symmetric cross-validation: 12,870 halves at 16, 252 at 10, and 10 keeps weeks of hourly bars in each.
SPLITS = 10
# Blocks of the single strategies' t-tests: two days of hourly bars, longer than a forecast is held.
BLOCK_BARS = 48
# Mean age of what counts as recent: a month of hourly bars.
RECENT_BARS = 720


def beside(challenger: Evidence, baselines: Mapping[str, Evidence], bars_per_year: float) -> dict[str, float]:
    """Figures of the walk-forward returns, by name; nan where one is undefined.

    Minimum track record and backtest length (bars, years), probability of backtest overfitting among the compared strategies, the p-values of White's
    reality check and Hansen's test that none of them beats staying flat, the challenger's own p-value adjusted for how many were compared, an interval for
    its annual Sharpe ratio, deflation by the effective number of trials, and how it did lately.
    """
    returns = challenger.returns
    strategies = np.column_stack([returns, *(baseline.returns for _, baseline in sorted(baselines.items()))])
    ability, (low, high) = superior_predictive_abilities(strategies), sharpe_interval(returns)
    shape = (float(skew(returns)), float(kurtosis(returns, fisher=False))) if np.any(returns) else (math.nan, math.nan)
    return {
        "minimum_track_record_bars": minimum_track_record_length(challenger.sharpe, *shape),
        "minimum_backtest_years": minimum_backtest_length(challenger.n_trials, challenger.sharpe * math.sqrt(bars_per_year)),
        "probability_of_backtest_overfitting": probability_of_backtest_overfitting(strategies, SPLITS).pbo,
        "reality_check_p": reality_check(strategies),
        "superior_predictive_ability_p": ability.consistent,
        "superior_predictive_ability_lower_p": ability.lower,
        "superior_predictive_ability_upper_p": ability.upper,
        "discovery_p": float(benjamini_hochberg(np.array([block_t_test(column, BLOCK_BARS)[1] for column in strategies.T]))[0]),
        "sharpe_low": low * math.sqrt(bars_per_year),
        "sharpe_high": high * math.sqrt(bars_per_year),
        "effective_trials": challenger.effective_trials,
        "deflated_sharpe_effective": challenger.deflated_by(challenger.effective_trials),
        **lately(returns, bars_per_year),
    }


def lately(returns: NDArray[np.float64], bars_per_year: float) -> dict[str, float]:
    """Annual Sharpe and Sortino ratio with the weight on the newest RECENT_BARS: an edge that fades shows here first."""
    sharpe, sortino = OnlineSharpe(1 / RECENT_BARS), OnlineSortino(1 / RECENT_BARS)
    for value in returns.tolist():
        sharpe.update(value)
        sortino.update(value)
    return {"recent_sharpe": sharpe.annual(bars_per_year), "recent_sortino": sortino.annual(bars_per_year)}
