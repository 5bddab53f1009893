"""Was it luck? Tests that know how many things were tried.

Sharpe ratios are per period, never annual; kurtosis is raw (3 for a normal); returns are fractions, [time] or [time, strategy]. Track
records are in periods, backtest lengths in years. Undefined is nan.
"""

from desk.backtest.statistics.overfitting import Overfitting, probability_of_backtest_overfitting
from desk.backtest.statistics.overlap import average_uniqueness, sequential_bootstrap
from desk.backtest.statistics.resampling import optimal_block_bars, sharpe_interval, stationary_bootstrap
from desk.backtest.statistics.sharpe_ratios import (
    deflated_sharpe_ratio,
    effective_number_of_trials,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from desk.backtest.statistics.superiority import (
    SuperiorAbility,
    benjamini_hochberg,
    block_t_test,
    reality_check,
    superior_predictive_abilities,
    superior_predictive_ability,
)

__all__ = [
    "Overfitting",
    "SuperiorAbility",
    "average_uniqueness",
    "benjamini_hochberg",
    "block_t_test",
    "deflated_sharpe_ratio",
    "effective_number_of_trials",
    "expected_maximum_sharpe",
    "minimum_backtest_length",
    "minimum_track_record_length",
    "optimal_block_bars",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "reality_check",
    "sequential_bootstrap",
    "sharpe_interval",
    "stationary_bootstrap",
    "superior_predictive_abilities",
    "superior_predictive_ability",
]
