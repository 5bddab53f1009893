"""The house policy: take exposure when the forecast clears its own uncertainty, give it back when it falls away."""

from __future__ import annotations

from configs.trading import PolicySettings
from desk.strategy.policy import View


class BandPolicy:
    """Long above `entry`, flat below `exit`, unchanged between; mirrored for shorts where they are allowed. No forecast: flat."""

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings

    @property
    def warmup_bars(self) -> int:
        """One close: everything else the forecast knows."""
        return 1

    def target(self, view: View) -> float:
        """Exposure -1, 0 or 1. The score is forecast mean / sd; no forecast, NaN or sd <= 0 is no opinion, and flat."""
        forecast = view.forecast
        if forecast is None or not forecast.sd > 0:
            return 0.0
        score = forecast.mean / forecast.sd
        if score > self._settings.entry:
            return 1.0
        if self._settings.allow_short and score < -self._settings.entry:
            return -1.0
        if view.previous > 0 and score >= self._settings.exit:
            return view.previous
        if view.previous < 0 and score <= -self._settings.exit:
            return view.previous
        return 0.0
