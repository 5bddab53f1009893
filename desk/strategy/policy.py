"""The port a user's own strategy implements, in under twenty lines, for every mode."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desk.events import Forecast


@dataclass(frozen=True, slots=True)
class View:
    """All a policy may know when a bar closes. Nothing here can come from the future.

    `closes` holds the last `warmup_bars` closes, oldest first; `features` the current feature row (empty when no recipe is used);
    `previous` is the policy's own last exposure, not the book's.
    """

    symbol: str
    closed_at: datetime
    closes: NDArray[np.float64]
    features: NDArray[np.float32]
    forecast: Forecast | None
    previous: float


class Policy(Protocol):
    """Decides the wanted exposure of one symbol at the close of one bar."""

    @property
    def warmup_bars(self) -> int:
        """Closes needed before the first decision."""

    def target(self, view: View) -> float:
        """Wanted exposure in [-1, 1]: 1 is the symbol's whole share of capital, 0 is flat, NaN is refused."""
