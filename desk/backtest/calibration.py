"""What bars say that trading costs: a spread that pushes closes to the edges of bars, and volatility that moves the price against large orders.

The kernel charges what the settings say. These figures stand beside it, because no statistic rescues a result from a spread that was not modelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desk.backtest.panel import Panel
from desk.costs import square_root_impact_bps

Floats = NDArray[np.float64]

# Bars below which an average says nothing.
_FEWEST = 30
# Of the standard normal: 95 % lie below.
_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Calibration:
    """Basis points, medians over symbols: half the spread, what it is at most with 95 % confidence, and the impact of taking a whole bar's volume."""

    half_spread_bps: float
    half_spread_at_most_bps: float
    impact_bps: float


def calibrate(bars: Panel) -> Calibration:
    """Estimate what trading the symbols of `bars` costs, from nothing but the bars. nan where there are fewer than 30 of them in a row."""
    columns = range(len(bars.symbols))
    spreads = [half_spread_from_bars(bars.high[:, asset], bars.low[:, asset], bars.close[:, asset]) for asset in columns]
    impacts = [float(square_root_impact_bps(_volatility(bars.close[:, asset]))) for asset in columns]
    low, high = zip(*spreads, strict=True)
    return Calibration(_median(low), _median(high), _median(impacts))


def half_spread_from_bars(high: Floats, low: Floats, close: Floats) -> tuple[float, float]:
    """Half the effective spread of one symbol's bars [time], in basis points, and its upper 95 % bound. Abdi and Ranaldo 2017, eq. 9.

    A close sits half a spread off the efficient price, the middle of a bar's range does not; the square of the spread is four times the mean of
    (close - this middle)(close - next middle), all in logs; 0 when that is negative. Where volatility drowns the spread the bound says how much.
    Bars beside a missing one (NaN) are left out.
    """
    closes, middles = np.log(close), (np.log(high) + np.log(low)) / 2
    products = 4 * (closes[:-1] - middles[:-1]) * (closes[:-1] - middles[1:])
    products = products[np.isfinite(products)]
    if len(products) < _FEWEST:
        return math.nan, math.nan
    square, error = float(products.mean()), float(products.std(ddof=1)) / math.sqrt(len(products))
    found, bound = (math.sqrt(max(value, 0.0)) / 2 * 1e4 for value in (square, square + _ONE_SIDED * error))
    return found, bound


def _volatility(close: Floats) -> float:
    moves = np.diff(np.log(close))
    moves = moves[np.isfinite(moves)]
    return float(moves.std(ddof=1)) if len(moves) >= _FEWEST else math.nan


def _median(values: tuple[float, ...] | list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
