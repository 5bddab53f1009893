"""How returns move together, known at each close: an exponentially weighted covariance, and the loss it implies for a book.

Weights fall by `decay` a bar (RiskMetrics Technical Document, 1996, ch. 5, with a zero mean). A symbol without a new close returns 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


class Covariance:
    """Covariance of one-bar simple returns (fractions) of `symbols`; `centre` is the mean age of what it counts, in bars."""

    def __init__(self, symbols: tuple[str, ...], centre: int) -> None:
        self._place = {symbol: place for place, symbol in enumerate(symbols)}
        self._decay = centre / (centre + 1)
        self._wanted = centre
        self._seen = 0
        self._closes: NDArray[np.float64] = np.full(len(symbols), np.nan)
        self._sum: NDArray[np.float64] = np.zeros((len(symbols), len(symbols)))
        self._weight = 0.0

    @property
    def known(self) -> bool:
        """Whether as many returns were seen as are their mean age."""
        return self._seen >= self._wanted

    def update(self, closes: Mapping[str, float]) -> None:
        """Take note of the last closes, by symbol. Nothing counts before every symbol has one."""
        fresh = np.array([closes.get(symbol, math.nan) for symbol in self._place])
        if not np.isnan(self._closes).any():
            returns = fresh / self._closes - 1
            self._sum = self._decay * self._sum + np.outer(returns, returns)
            self._weight = self._decay * self._weight + 1
            self._seen += 1
        self._closes = fresh

    def between(self, first: str, second: str) -> float:
        """Covariance of two symbols' returns, variance of one's; nan before enough is known."""
        return float(self._sum[self._place[first], self._place[second]] / self._weight) if self.known else math.nan

    def deviation(self, values: Mapping[str, float]) -> float:
        """Standard deviation, in quote, of what positions of these values (signed, quote) gain in a bar; nan before enough is known."""
        if not self.known:
            return math.nan
        exposures = np.array([values.get(symbol, 0.0) for symbol in self._place])
        return math.sqrt(max(float(exposures @ self._sum @ exposures) / self._weight, 0.0))


def expected_shortfall(deviation: float, level: float) -> float:
    """Mean loss beyond the quantile `level` of a normal gain with mean 0: deviation * pdf(z) / (1 - level).

    McNeil, Frey, Embrechts, Quantitative Risk Management (2015), example 2.14. Crypto returns have fatter tails: set limits accordingly.
    """
    normal = NormalDist()
    return deviation * normal.pdf(normal.inv_cdf(level)) / (1 - level)
