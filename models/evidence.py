"""What speaks for a model: its returns out of sample, and how hard was searched for them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew

from data_contracts.checks import checks_shape
from desk.backtest.statistics import block_t_test, deflated_sharpe_ratio, effective_number_of_trials
from desk.measures import max_drawdown, sharpe


@dataclass(frozen=True)
class Evidence:
    """Net returns per bar of one strategy, fractions: `returns` over the stitched walk-forward test spans, `holdout_returns` over the holdout.

    `n_trials` counts every trial ever evaluated on the way here, `trial_sharpe_variance` is the variance of their Sharpe ratios per bar.
    `effective_trials` is how many independent ones they amount to (nan: not known); `holdout_looks` says how many other models were tested on an
    overlapping holdout before.
    """

    returns: NDArray[np.float64]
    holdout_returns: NDArray[np.float64]
    n_trials: int = 1
    trial_sharpe_variance: float = 0.0
    holdout_looks: int = 0
    effective_trials: float = math.nan

    @functools.cached_property
    def sharpe(self) -> float:
        """Sharpe ratio per bar of the walk-forward returns; 0 for a strategy that never trades."""
        return sharpe_per_bar(self.returns)

    @functools.cached_property
    def holdout_sharpe(self) -> float:
        """Sharpe ratio per bar of the holdout returns; 0 for a strategy that never trades."""
        return sharpe_per_bar(self.holdout_returns)

    @functools.cached_property
    def deflated_sharpe(self) -> float:
        """Probability that the walk-forward Sharpe ratio beats the best that luck finds in n_trials (Bailey and Lopez de Prado 2014); nan without trades."""
        return self.deflated_by(self.n_trials)

    def deflated_by(self, n_trials: float) -> float:
        """The same for another number of trials, such as the effective one."""
        if self.sharpe == 0 or not math.isfinite(self.sharpe):
            return math.nan
        shape = float(skew(self.returns)), float(kurtosis(self.returns, fisher=False))
        return float(deflated_sharpe_ratio(self.sharpe, len(self.returns), *shape, n_trials=n_trials, trial_sharpe_variance=self.trial_sharpe_variance))

    @functools.cached_property
    def worst_drawdown(self) -> float:
        """Largest fall from a peak of the compounded walk-forward and holdout returns, a fraction in [0, 1]."""
        growth = np.concatenate(([1.0], np.cumprod(1 + np.concatenate((self.returns, self.holdout_returns)))))
        return abs(float(max_drawdown(growth)))

    def holdout_test(self, block_bars: int) -> tuple[float, float]:
        """t and one-sided p of the block t-test that the mean holdout return is above zero."""
        t, p = block_t_test(self.holdout_returns, block_bars)
        return float(t), float(p)

    def to_json(self) -> str:
        """Everything, as one JSON object; NaN is written as NaN."""
        return json.dumps(
            {
                "returns": self.returns.tolist(),
                "holdout_returns": self.holdout_returns.tolist(),
                "n_trials": self.n_trials,
                "trial_sharpe_variance": self.trial_sharpe_variance,
                "holdout_looks": self.holdout_looks,
                "effective_trials": self.effective_trials,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read back what `to_json` wrote."""
        stored = json.loads(text)
        return cls(**{**stored, "returns": np.array(stored["returns"], dtype=float), "holdout_returns": np.array(stored["holdout_returns"], dtype=float)})


@checks_shape(returns="time")
def sharpe_per_bar(returns: NDArray[np.float64]) -> float:
    """Sharpe ratio per bar; 0 when every return is 0 (never traded), nan when undefined otherwise."""
    if len(returns) and not np.any(returns):
        return 0.0
    return float(sharpe(returns, 1.0))


def effective_trials(trials: Sequence[Mapping[str, Any]]) -> float:
    """Independent trials that the ledger's `trials` amount to: within a study by how alike they earned, over studies added up.

    A trial without a record of what it earned counts as one of its own.
    """
    studies: dict[str, list[list[float]]] = {}
    alone = 0
    for trial in trials:
        earned = trial.get("earned")
        if earned and np.any(earned):
            studies.setdefault(trial["study"], []).append(earned)
        else:
            alone += 1
    return alone + sum(effective_number_of_trials(np.array(columns).T) for columns in studies.values())


def null_sharpe_variance(n_bars: int) -> float:
    """Variance of a per-bar Sharpe ratio estimated from `n_bars` independent returns of no skill: 1 / n (Lo 2002, eq. 9, at SR = 0).

    What deflation needs is how far apart luck alone would put the trials *at the length that is judged*. The variance measured across our trials is not
    that: they are scored on short validation tails, so it is mostly the estimation noise of that length, several times too wide for a longer test.
    """
    return 1.0 / n_bars if n_bars else math.nan
