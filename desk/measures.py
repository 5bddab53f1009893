"""How well it went: one definition for kernel, session, promotion and reports.

Returns are fractions per period, equity is in quote, both [time]. Undefined is nan, and so is anything computed from a NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A share of the periods that misses a whole number by less is one: (1 - .95) * 100 is not 5 to a float.
_WHOLE = 1e-9


def returns_of(equity: Floats) -> Floats:
    """Simple returns between successive marks of `equity` [time]: one fewer than marks. nan after a mark of 0."""
    return time_weighted(equity, np.zeros(max(len(equity) - 1, 0)))


def time_weighted(equity: Floats, flows: Floats) -> Floats:
    """Returns between successive marks of `equity` [time] of which none is owed to money that came or went: `flows` [time - 1], in quote, moved right after
    the earlier mark of each pair. nan where nothing was there to earn on. Global Investment Performance Standards (2020), 2.A.
    """
    before = equity[:-1] + flows
    returns: Floats = np.divide(equity[1:], before, out=np.full(len(before), np.nan), where=before != 0) - 1
    return returns


def sharpe(returns: Floats, periods_per_year: float) -> float:
    """Annual mean over standard deviation (ddof 1) of `returns` [time]. nan for fewer than two or when they never vary. Sharpe 1994."""
    if len(returns) < 2:
        return math.nan
    sd = _spread(returns)
    return float(np.mean(returns) / sd * math.sqrt(periods_per_year)) if sd > 0 else math.nan


def sortino(returns: Floats, periods_per_year: float) -> float:
    """Annual mean over downside deviation (root mean square of the losses, target 0, all periods counted). nan without a loss. Sortino 1994."""
    if len(returns) < 2:
        return math.nan
    losses = np.minimum(returns, 0.0)
    downside = math.sqrt(float(np.mean(losses * losses)))
    return float(np.mean(returns) / downside * math.sqrt(periods_per_year)) if downside > 0 else math.nan


def max_drawdown(equity: Floats) -> float:
    """Largest fall from a running peak of `equity` [time], a positive fraction of that peak. nan without marks. Above 1 when equity goes below 0."""
    if not len(equity):
        return math.nan
    return float(np.max(1 - equity / np.maximum.accumulate(equity)))


def calmar(returns: Floats, periods_per_year: float) -> float:
    """Compound annual growth of `returns` [time] over their largest drawdown. nan without returns, without a drawdown, or after ruin. Young 1991."""
    equity = np.concatenate([np.ones(1), np.cumprod(1 + returns)])
    fall = max_drawdown(equity)
    if not (fall > 0 and equity[-1] > 0):
        return math.nan
    # Capped: a few very good bars can annualise beyond what a float holds.
    log_growth = min(periods_per_year / len(returns) * math.log(equity[-1]), math.log(np.finfo(np.float64).max))
    return math.expm1(log_growth) / fall


def value_at_risk(returns: Floats, level: float = 0.95) -> float:
    """Loss that `returns` [time] exceed in a share 1 - level of periods: a positive fraction when it is a loss. Historical, interpolated. nan if empty."""
    return -float(np.quantile(returns, 1 - level)) if len(returns) else math.nan


def expected_shortfall(returns: Floats, level: float = 0.95) -> float:
    """Mean loss in the worst share 1 - level of periods, a positive fraction when it is a loss. nan if empty. Rockafellar and Uryasev 2000.

    The period that the share cuts through counts with the part that is inside, so the measure is coherent for any sample size.
    """
    if not len(returns) or np.isnan(returns).any():
        return math.nan
    share = (1 - level) * len(returns)
    whole = min(math.floor(share + _WHOLE), len(returns) - 1)
    worst = np.sort(np.partition(returns, whole)[: whole + 1])
    part = max(share - whole, 0.0)
    return -float((np.sum(worst[:whole]) + part * worst[whole]) / (whole + part)) if whole + part > 0 else -float(worst[0])


def turnover(traded: float, equity: Floats, periods_per_year: float) -> float:
    """Notional `traded` (quote, both sides) a year, in multiples of the mean of `equity` [time]. nan without marks or equity."""
    if not len(equity) or not np.mean(equity) > 0:
        return math.nan
    return float(traded / np.mean(equity) * periods_per_year / len(equity))


def hit_rate(returns: Floats) -> float:
    """Share of the periods with a gain among those with a gain or a loss. nan when nothing moved."""
    if np.isnan(returns).any():
        return math.nan
    gains, losses = int(np.count_nonzero(returns > 0)), int(np.count_nonzero(returns < 0))
    return gains / (gains + losses) if gains + losses else math.nan


def profit_factor(returns: Floats) -> float:
    """Sum of gains over sum of losses. nan without a loss."""
    losses = -float(np.sum(np.minimum(returns, 0.0)))
    return float(np.sum(np.maximum(returns, 0.0))) / losses if losses > 0 else math.nan


@dataclass(slots=True)
class OnlineSharpe:
    """Sharpe ratio that takes one return at a time (Moody and Saffell 1998): exponential with `decay` in (0, 1), or over all returns alike without.

    `mean` and `variance` (ddof 0) are per period. Over all returns, `annual` is `sharpe` of them.
    """

    decay: float | None = None
    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def update(self, value: float) -> float:
        """Take the next return; answer the differential Sharpe ratio: what it adds to the ratio so far per unit of decay. nan while that is undefined."""
        apart = value - self.mean
        square = self.variance + self.mean**2
        added = (square * apart - self.mean * (value**2 - square) / 2) / self.variance**1.5 if self.variance > 0 else math.nan
        self.count += 1
        weight = _weight(self.decay, self.count)
        self.mean += weight * apart
        # The variance itself, not the mean of squares less a square: nothing cancels.
        self.variance = (1 - weight) * (self.variance + weight * apart**2)
        return added

    def annual(self, periods_per_year: float) -> float:
        """The ratio so far, a year; over all returns with ddof 1. nan for fewer than two or when they never vary."""
        if self.count < 2 or not self.variance > 0:
            return math.nan
        unbiased = self.count / (self.count - 1) if self.decay is None else 1.0
        return self.mean / math.sqrt(self.variance * unbiased) * math.sqrt(periods_per_year)


@dataclass(slots=True)
class OnlineSortino:
    """Sortino ratio that takes one return at a time (Moody and Saffell 2001): exponential with `decay` in (0, 1), or over all returns alike without.

    `downside` is the mean square of the losses. Over all returns, `annual` is `sortino` of them.
    """

    decay: float | None = None
    count: int = 0
    mean: float = 0.0
    downside: float = 0.0

    def update(self, value: float) -> float:
        """Take the next return; answer the differential downside deviation ratio: what it adds to the ratio so far per unit of decay. nan while undefined."""
        loss = min(value, 0.0) ** 2
        added = (value - self.mean / 2) / self.downside**0.5 - self.mean * loss / (2 * self.downside**1.5) if self.downside > 0 else math.nan
        self.count += 1
        weight = _weight(self.decay, self.count)
        self.mean += weight * (value - self.mean)
        self.downside += weight * (loss - self.downside)
        return added

    def annual(self, periods_per_year: float) -> float:
        """The ratio so far, a year. nan for fewer than two or without a loss."""
        return self.mean / math.sqrt(self.downside) * math.sqrt(periods_per_year) if self.count > 1 and self.downside > 0 else math.nan


def _weight(decay: float | None, count: int) -> float:
    """Of the newest of `count` returns. The first is all there is, whatever the decay."""
    return 1 / count if decay is None or count == 1 else decay


def _spread(values: Floats) -> float:
    """Standard deviation, ddof 1; exactly 0 for values that are all equal, whatever their mean's rounding says."""
    return 0.0 if (values == values[0]).all() else float(np.std(values, ddof=1))
