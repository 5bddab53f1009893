"""What stands beside the decision: figures that are reported with it and do not make it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.stats import kurtosis, skew

from desk.backtest.statistics import (
    minimum_backtest_length,
    minimum_track_record_length,
    probability_of_backtest_overfitting,
    reality_check,
    superior_predictive_ability,
)
from models.evidence import Evidence

# Spans of the symmetric cross-validation: 12,870 halves at 16, 252 at 10, and 10 keeps weeks of hourly bars in each.
SPLITS = 10


def beside(challenger: Evidence, baselines: Mapping[str, Evidence], bars_per_year: float) -> dict[str, float]:
    """Figures of the walk-forward returns, by name; nan where one is undefined.

    Minimum track record and backtest length (bars, years), probability of backtest overfitting among the compared strategies, and the p-values of White's
    reality check and Hansen's test that none of them beats staying flat.
    """
    returns = challenger.returns
    strategies = np.column_stack([returns, *(baseline.returns for _, baseline in sorted(baselines.items()))])
    shape = (float(skew(returns)), float(kurtosis(returns, fisher=False))) if np.any(returns) else (math.nan, math.nan)
    return {
        "minimum_track_record_bars": minimum_track_record_length(challenger.sharpe, *shape),
        "minimum_backtest_years": minimum_backtest_length(challenger.n_trials, challenger.sharpe * math.sqrt(bars_per_year)),
        "probability_of_backtest_overfitting": probability_of_backtest_overfitting(strategies, SPLITS).pbo,
        "reality_check_p": reality_check(strategies),
        "superior_predictive_ability_p": superior_predictive_ability(strategies),
    }
