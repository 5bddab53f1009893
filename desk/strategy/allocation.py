"""How capital is split over assets: the arithmetic of portfolio construction, on arrays [asset] and [asset, asset], nothing remembered.

Means and covariances belong to one and the same span, fractions; weights are fractions of equity, negative is short. Inputs are finite, variances above 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Iterations end when no weight moves by more than this share of the largest; in practice after some tens of sweeps.
STILL = 1e-12
MOST_SWEEPS = 100_000


def ewma_covariance(closes: Floats, centre: int) -> Floats:
    """Covariance [asset, asset] of one-bar simple returns of `closes` [time, asset], with mean zero and weights that fall by centre / (centre + 1) a bar.

    RiskMetrics Technical Document (1996), ch. 5; the weights are scaled to a sum of one, whatever the number of bars (two closes at least).
    """
    returns = closes[1:] / closes[:-1] - 1
    weights = (centre / (centre + 1)) ** np.arange(len(returns) - 1, -1, -1.0)
    return np.asarray((returns * (weights / weights.sum())[:, None]).T @ returns)


def shrunk_correlation(covariance: Floats, shrinkage: float) -> Floats:
    """Correlation matrix, drawn towards the identity by `shrinkage` in [0, 1]: positive definite for any above 0 (Ledoit and Wolf 2004, constant form)."""
    deviation = np.sqrt(np.diag(covariance))
    return np.asarray((1 - shrinkage) * covariance / np.outer(deviation, deviation) + shrinkage * np.eye(len(covariance)))


def fitted(weights: Floats, largest: float, gross: float) -> Floats:
    """The weights, all made smaller by one factor where the largest is above `largest` or their absolute sum above `gross`: proportions stay."""
    total = float(np.abs(weights).sum())
    if total == 0:
        return weights
    return weights * min(1.0, largest / float(np.abs(weights).max()), gross / total)


def volatility_target(weights: Floats, covariance: Floats, deviation: float) -> Floats:
    """The weights scaled so that the portfolio's standard deviation is `deviation`, without any cap (Moreira and Muir 2017). All zero stays zero."""
    risk = math.sqrt(float(weights @ covariance @ weights))
    return weights * (deviation / risk) if risk > 0 else weights


def kelly(mean: Floats, variance: Floats) -> Floats:
    """The fractions of capital that make each asset's wealth grow fastest, each alone: mean of the simple return / variance (Thorp 2006, section 7)."""
    return mean / variance


def mean_variance(mean: Floats, covariance: Floats, aversion: float, *, largest: float, gross: float, shorts: bool) -> Floats:
    """Weights with the greatest mean - aversion / 2 * variance (Markowitz 1952), none above `largest`, of an absolute sum of at most `gross`.

    Where the sum would be more, each unit of it costs a price; the price at which it is just `gross` is found between 0 and the largest mean.
    """
    risk, bounds = aversion * covariance, (-largest if shorts else 0.0, largest)
    weights = _priced(mean, risk, 0.0, bounds, np.zeros(len(mean)))
    if float(np.abs(weights).sum()) <= gross:
        return weights
    from scipy.optimize import brentq

    def excess(price: float) -> float:
        weights[:] = _priced(mean, risk, price, bounds, weights)
        return float(np.abs(weights).sum()) - gross

    price = float(brentq(excess, 0.0, float(np.abs(mean).max()), xtol=1e-18, rtol=1e-12))
    return _priced(mean, risk, price, bounds, weights)


def _priced(mean: Floats, risk: Floats, price: float, bounds: tuple[float, float], start: Floats) -> Floats:
    """Maximum of w @ mean - w @ risk @ w / 2 - price * sum(abs(w)) with every weight in `bounds`: coordinate ascent, each step exact (Tseng 2001).

    After each sweep the weights inside their bounds are solved for together: once it is clear which these are, that is the answer.
    """
    weights, (low, high) = start.copy(), bounds
    for _ in range(MOST_SWEEPS):
        moved = 0.0
        for asset, own in enumerate(np.diag(risk)):
            gain = mean[asset] - float(risk[asset] @ weights) + own * weights[asset]
            best = min(max(math.copysign(max(abs(gain) - price, 0.0), gain) / own, low), high)
            moved = max(moved, abs(best - weights[asset]))
            weights[asset] = best
        if moved <= STILL * high:
            break
        weights = _solved_inside(mean, risk, price, bounds, weights)
    return weights


def _solved_inside(mean: Floats, risk: Floats, price: float, bounds: tuple[float, float], weights: Floats) -> Floats:
    """The best weights with the same ones at a bound, at zero, long and short; `weights` themselves where that is not possible."""
    inside = np.flatnonzero((weights != 0) & (weights > bounds[0]) & (weights < bounds[1]))
    side, others = np.sign(weights[inside]), weights.copy()
    others[inside] = 0.0
    try:
        others[inside] = np.linalg.solve(risk[np.ix_(inside, inside)], mean[inside] - price * side - risk[inside] @ others)
    except np.linalg.LinAlgError:
        return weights
    found = others[inside]
    return others if bool(((found * side > 0) & (found >= bounds[0]) & (found <= bounds[1])).all()) else weights


def equal_risk(covariance: Floats) -> Floats:
    """Positive weights, sum 1, each adding the same to the portfolio's variance (Maillard, Roncalli, Teiletche 2010).

    They are the minimum of x @ covariance @ x / 2 - sum(log(x)) / n (Spinu 2013), scaled, by cyclical descent whose every step solves a quadratic
    equation (Griveau-Billion, Richard, Roncalli 2013); on correlations, because what an asset's unit is does not matter.
    """
    deviation = np.sqrt(np.diag(covariance))
    correlation, part = covariance / np.outer(deviation, deviation), 1 / len(covariance)
    weights = np.full(len(covariance), math.sqrt(part))
    for _ in range(MOST_SWEEPS):
        before = weights.copy()
        for asset, row in enumerate(correlation):
            others = float(row @ weights) - weights[asset]
            weights[asset] = (math.sqrt(others * others + 4 * part) - others) / 2
        if np.abs(weights - before).max() <= STILL * weights.max():
            break
    scaled = weights / deviation
    return np.asarray(scaled / scaled.sum())


def hierarchical(covariance: Floats) -> Floats:
    """Positive weights, sum 1, by hierarchical risk parity (Lopez de Prado 2016): no matrix is inverted, so estimates may be poor.

    Assets are ordered by single linkage of how far apart their correlations to all others are; then capital is halved down the order, each half by
    the inverse of the variance that an inverse-variance portfolio of it has.
    """
    if len(covariance) == 1:
        return np.ones(1)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist

    deviation = np.sqrt(np.diag(covariance))
    apart = np.sqrt(np.clip((1 - covariance / np.outer(deviation, deviation)) / 2, 0.0, 1.0))
    weights, waiting = np.ones(len(covariance)), [leaves_list(linkage(pdist(apart), "single"))]
    while waiting:
        order = waiting.pop()
        if len(order) > 1:
            left, right = order[: len(order) // 2], order[len(order) // 2 :]
            of_left, of_right = _cluster_variance(covariance, left), _cluster_variance(covariance, right)
            weights[left] *= of_right / (of_left + of_right)
            weights[right] *= of_left / (of_left + of_right)
            waiting += [left, right]
    return weights


def _cluster_variance(covariance: Floats, assets: NDArray[np.intp]) -> float:
    inside = covariance[np.ix_(assets, assets)]
    inverse = 1 / np.diag(inside)
    weights = inverse / inverse.sum()
    return float(weights @ inside @ weights)


def patience(aversion: float, cost: float) -> float:
    """How much of the way to the aim one bar goes, in (0, 1]: a / cost of Garleanu and Pedersen (2013), eq. 12, in the limit of no discounting.

    Trades dx cost dx @ (cost * covariance) @ dx / 2, risk costs aversion / 2 * variance. Free trading goes all the way.
    """
    return 2 * aversion / (aversion + math.sqrt(aversion * aversion + 4 * aversion * cost)) if cost > 0 else 1.0


def aim_discount(aversion: float, cost: float, decay: float) -> float:
    """By what a forecast is divided whose mean loses the share `decay` a bar: 1 + decay * a / aversion (their eq. 14). Lasting forecasts count whole."""
    return 1 + decay * cost * patience(aversion, cost) / aversion
