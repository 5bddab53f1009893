"""The port through which a trained model speaks to the desk. Implementations live in `models`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Forecaster(Protocol):
    """Anything that turns a window of features into a distribution of the coming return."""

    @property
    def lookback_bars(self) -> int:
        """Feature rows needed for one forecast."""

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sd of the log return over the horizon, both fractions, from `window` [time, feature], oldest first, no NaN.

        `(nan, nan)` means no opinion, and the policy goes flat on it. The session rounds both to 1e-6 before the policy sees them.
        """

    def name_at(self, closed_at: datetime) -> str:
        """Identity (weights hash) of the model that answers at this time."""
