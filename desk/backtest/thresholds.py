"""The same forecasts, judged by a stricter or a laxer rule: whether a result hangs on the very thresholds it was tested with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.trading import PolicySettings
from configs.vocabulary import Construction
from desk.backtest.panel import Panel
from desk.backtest.robustness import Case
from desk.errors import BookMismatch
from desk.events import Forecast
from desk.strategy.band import BandPolicy
from desk.strategy.forecast import Forecaster
from desk.strategy.policy import Policy, View

Floats = NDArray[np.float64]
Forecasts = Mapping[tuple[str, datetime], Forecast]

# Entries tried, as factors of the tested one, and exits, as distances from the tested one in tested entries.
ENTRIES = (0.5, 0.75, 1.0, 1.25, 1.5)
EXITS = (-0.5, 0.0, 0.5)
# As the session rounds them before a policy sees them.
FORECAST_DIGITS = 6


class Heard:
    """A `Forecaster` that keeps what another one says."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self.forecasts: dict[tuple[str, datetime], Forecast] = {}

    @property
    def lookback_bars(self) -> int:
        """The other's."""
        return self._forecaster.lookback_bars

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """The other's answer, kept as a policy sees it."""
        mean, sd = self._forecaster.forecast(symbol, closed_at, window)
        rounded = round(float(mean), FORECAST_DIGITS), round(float(sd), FORECAST_DIGITS)
        self.forecasts[symbol, closed_at] = Forecast(symbol, closed_at, *rounded, self.name_at(closed_at))
        return mean, sd

    def name_at(self, closed_at: datetime) -> str:
        """The other's."""
        return self._forecaster.name_at(closed_at)


def thresholds(case: Case, forecasts: Forecasts) -> pl.DataFrame | None:
    """Other entries and exits of the band on the forecasts that the case was decided on: entry, exit, equity (final), sharpe, fills.

    None for a construction that weighs symbols against each other. Raises BookMismatch when the tested thresholds do not give the case's exposures.
    """
    settings = case.trading.policy
    if settings.construction is not Construction.BAND:
        return None
    if not np.array_equal(redecided(forecasts, case.bars, BandPolicy(settings)), case.targets, equal_nan=True):
        raise BookMismatch("expected the session's exposures from its own forecasts and thresholds, found others; do not trust the map of thresholds")

    def decided(bars: Panel, exit: float, entry: float) -> Floats:
        return redecided(forecasts, bars, BandPolicy(settings.model_copy(update={"entry": entry, "exit": exit})))

    return case.swept(decided, grid(settings))


def grid(settings: PolicySettings) -> dict[str, list[float]]:
    """Values of both thresholds, ascending, each once; the tested ones are among them, exactly."""
    entries = {settings.entry * factor for factor in ENTRIES}
    exits = {settings.exit + distance * settings.entry for distance in EXITS}
    return {"exit": sorted(exits), "entry": sorted(entries)}


def redecided(forecasts: Forecasts, bars: Panel, policy: Policy) -> Floats:
    """Exposures [time, asset] of a policy that needs nothing but the forecast and its own last exposure; NaN where there is no bar."""
    targets, moments = np.full(bars.close.shape, np.nan), [moment.replace(tzinfo=UTC) for moment in bars.closed_at.astype(datetime)]
    no_closes, no_features = np.empty(0), np.empty(0, dtype=np.float32)
    for column, symbol in enumerate(bars.symbols):
        previous = 0.0
        for row in np.flatnonzero(np.isfinite(bars.close[:, column])).tolist():
            moment = moments[row]
            previous = policy.target(View(symbol, moment, no_closes, no_features, forecasts.get((symbol, moment)), previous))
            targets[row, column] = previous
    return targets
