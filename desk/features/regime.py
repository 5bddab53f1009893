"""Market regimes: a Gaussian hidden Markov model of returns, fitted by EM and read causally.

The library is used for EM only: its predict and predict_proba smooth, which is knowledge of the future. Probabilities come from the forward filter
below, in training, backtest and live alike. Regimes are numbered by volatility, calmest first, so a number means the same in every fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.checks import checks_shape
from desk.errors import NotFinite

# EM stops at a gain below the tolerance (log likelihood of the whole series) or after this many rounds. Ours.
EM_ROUNDS = 200
EM_TOLERANCE = 1e-2
SEED = 7
# EM starts from regimes that last 20 bars: any persistence does, as long as it is not none.
FIRST_GUESS_STAY = 0.95
# With fewer returns a regime than this its volatility is a guess. Ours.
MIN_RETURNS_PER_REGIME = 50


@dataclass(frozen=True, slots=True)
class RegimeModel:
    """A fitted model of n regimes, calmest first: start [regime], transition [regime, regime] (rows sum to 1), mean and sd [regime] of returns, fractions."""

    start: tuple[float, ...]
    transition: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @checks_shape(returns="time")
    def filtered(self, returns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P(regime at t | returns up to and including t), [time, regime], rows sum to 1.

        `returns` [time] are fractions. A NaN return says nothing: its row is the prediction from the row before. Hamilton (1989), forward filter.
        """
        likelihood = self._relative_likelihood(np.asarray(returns, dtype=np.float64))
        transition = np.asarray(self.transition)
        probabilities = np.empty_like(likelihood)
        expected = np.asarray(self.start)
        for at, evidence in enumerate(likelihood):
            posterior = expected * evidence
            posterior /= posterior.sum()
            probabilities[at] = posterior
            expected = posterior @ transition
        return probabilities

    def _relative_likelihood(self, returns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density of each return in each regime over that of its best regime, [time, regime]: taken in logs, so that no outlier underflows."""
        mean, sd = np.asarray(self.mean), np.asarray(self.sd)
        log_density = -0.5 * ((returns[:, None] - mean) / sd) ** 2 - np.log(sd)
        relative: NDArray[np.float64] = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        # A floor far below any real density keeps a regime that EM left with a transition of 0 from making the sum 0.
        return np.where(np.isnan(relative), 1.0, np.maximum(relative, np.finfo(np.float64).tiny))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[Any]]) -> RegimeModel:
        """The inverse of `to_dict`, also after JSON turned tuples into lists."""
        transition = tuple(tuple(map(float, row)) for row in values["transition"])
        return cls(tuple(map(float, values["start"])), transition, tuple(map(float, values["mean"])), tuple(map(float, values["sd"])))


@checks_shape(returns="time")
def fit(returns: NDArray[np.float64], n_regimes: int) -> RegimeModel:
    """Fit by EM (Baum and others 1970) on returns [time], fractions; NaN are left out. Deterministic.

    Fit on the training span only and freeze. NotFinite when fewer than MIN_RETURNS_PER_REGIME finite returns a regime are left, or they do not vary.
    """
    series = np.asarray(returns, dtype=np.float64)
    series = series[np.isfinite(series)]
    scale = float(series.std()) if len(series) else 0.0
    if len(series) < 50 * n_regimes or not scale > 0.0:
        raise NotFinite(
            f"{n_regimes} regimes need at least {50 * n_regimes} finite, varying returns; found {len(series)} with sd {scale}; train on a longer span"
        )
    # The library's priors and floors are absolute: returns are brought to unit scale first and the parameters back after.
    engine = _expectation_maximisation(series / scale, n_regimes)
    order = np.argsort(engine.covars_.ravel())
    mean, sd = engine.means_.ravel()[order] * scale, np.sqrt(engine.covars_.ravel()[order]) * scale
    transition = engine.transmat_[np.ix_(order, order)]
    # The chain is entered in its long-run shares: where the training span happened to begin says nothing about where another span begins.
    start = np.linalg.matrix_power(transition, 2**20).mean(axis=0)
    return RegimeModel.from_dict({"start": start / start.sum(), "transition": transition, "mean": mean, "sd": sd})


def _expectation_maximisation(series: NDArray[np.float64], n_regimes: int) -> Any:
    """Run EM from regimes of equal mean that differ in volatility only, spread around 1: no random start, no labels to switch."""
    from hmmlearn.hmm import GaussianHMM

    engine = GaussianHMM(n_regimes, covariance_type="diag", n_iter=EM_ROUNDS, tol=EM_TOLERANCE, random_state=SEED, init_params="")
    transition = np.full((n_regimes, n_regimes), (1.0 - FIRST_GUESS_STAY) / max(n_regimes - 1, 1))
    np.fill_diagonal(transition, FIRST_GUESS_STAY)
    engine.startprob_ = np.full(n_regimes, 1.0 / n_regimes)
    engine.transmat_ = transition / transition.sum(axis=1, keepdims=True)
    engine.means_ = np.full((n_regimes, 1), series.mean())
    engine.covars_ = np.geomspace(0.25, 4.0, n_regimes)[:, None]
    return engine.fit(series[:, None])
