"""How good forecasts are, before any policy and any cost: figures on arrays [time, asset]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_contracts.checks import checks_shape


@checks_shape(mean="time asset", labels="time asset", rows="row")
def information_coefficient(mean: NDArray[np.float32], labels: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
    """Pearson correlation of forecasts and labels over the given rows, pooled over time and assets; nan when either is constant or absent."""
    forecast, label = mean[rows].ravel().astype(np.float64), labels[rows].ravel().astype(np.float64)
    known = np.isfinite(forecast) & np.isfinite(label)
    if known.sum() < 2 or np.std(forecast[known]) == 0 or np.std(label[known]) == 0:
        return float("nan")
    return float(np.corrcoef(forecast[known], label[known])[0, 1])


@checks_shape(mean="time asset", sd="time asset", closes="time asset", rows="row")
def forecast_earnings(mean: NDArray[np.float32], sd: NDArray[np.float32], closes: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What holding mean / sd of every asset for one bar of the grid earns, before costs, [row]; the figure compares trials, it promises no profit.

    A position whose next close is missing earns nothing.
    """
    positions = np.nan_to_num(mean / sd)
    moves = np.zeros(closes.shape)
    moves[:-1] = np.nan_to_num(np.log(closes[1:]) - np.log(closes[:-1]))
    return (positions * moves)[rows].mean(axis=1)


@checks_shape(earned="row")
def forecast_sharpe(earned: NDArray[np.float64]) -> float:
    """Sharpe ratio per bar of `forecast_earnings`; nan when nothing moves."""
    spread = float(np.std(earned, ddof=1)) if len(earned) > 1 else 0.0
    return float(np.mean(earned)) / spread if spread > 0 else float("nan")


@checks_shape(earned="row")
def outline(earned: NDArray[np.float64], spans: int) -> list[float]:
    """Sums of `forecast_earnings` over so many even spans, to six digits: enough to see which trials resemble each other, little enough to keep."""
    return [float(f"{part.sum():.6g}") for part in np.array_split(earned, spans)]
