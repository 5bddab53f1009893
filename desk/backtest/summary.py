"""A result's measures from what the loop summed on its way: a million returns are not gone through again for each of them.

The same definitions as `desk.measures`, which the tests hold against these. Value at risk and expected shortfall need the whole
distribution; they are computed when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from desk import measures

Floats = NDArray[np.float64]
# What is left of a variance by rounding alone, as a share of the sum of squares: below this the returns do not vary.
_ROUNDING = 1e-14
_LATER = {"value_at_risk": measures.value_at_risk, "expected_shortfall": measures.expected_shortfall}


class Measures(Mapping[str, float]):
    """Measures by name. `sums` as `desk.backtest.loop.conclude` leaves them; `traded` and `fees` in quote."""

    def __init__(self, equity: Floats, sums: Floats, *, traded: float, fees: float, fills: int, bars_per_year: float) -> None:
        self._equity = equity
        self._now = _measures(equity, sums, bars_per_year) | {
            "turnover": float(traded / sums[-1] * bars_per_year) if sums[-1] > 0 else math.nan,
            "fees": fees,
            "fills": float(fills),
        }

    def __getitem__(self, name: str) -> float:
        if name in self._now:
            return self._now[name]
        return _LATER[name](self._returns)

    def __iter__(self) -> Iterator[str]:
        yield from self._now
        yield from _LATER

    def __len__(self) -> int:
        return len(self._now) + len(_LATER)

    @cached_property
    def _returns(self) -> Floats:
        return measures.returns_of(self._equity)


def _measures(equity: Floats, sums: Floats, bars_per_year: float) -> dict[str, float]:
    total, squares, loss_squares, gains, losses, ups, downs, fall, _ = sums.tolist()
    count = len(equity) - 1
    variance = (squares - total * total / count) / (count - 1) if count > 1 else 0.0
    sd = math.sqrt(variance) if variance > _ROUNDING * squares else 0.0
    downside = math.sqrt(loss_squares / count) if loss_squares > 0 else 0.0
    return {
        "total_return": float(equity[-1] / equity[0] - 1),
        "sharpe": total / count / sd * math.sqrt(bars_per_year) if sd > 0 else math.nan,
        "sortino": total / count / downside * math.sqrt(bars_per_year) if downside > 0 else math.nan,
        "calmar": _calmar(equity, fall, bars_per_year),
        "max_drawdown": fall,
        "hit_rate": ups / (ups + downs) if ups + downs else math.nan,
        "profit_factor": gains / losses if losses > 0 else math.nan,
        "volatility": sd * math.sqrt(bars_per_year) if count > 1 else math.nan,
    }


def _calmar(equity: Floats, fall: float, bars_per_year: float) -> float:
    growth = equity[-1] / equity[0]
    if not (fall > 0 and growth > 0):
        return math.nan
    # Capped as in desk.measures.
    return math.expm1(min(bars_per_year / (len(equity) - 1) * math.log(growth), math.log(np.finfo(np.float64).max))) / fall
