"""The gate between a trained model and capital: pure, and it gives every reason it has.

The deciding test is the block t-test on a holdout that nobody looked at before; deflated Sharpe, drawdown, baselines and the reigning champion stand
beside it, because no single one of them is enough. What is not a finite number refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from configs.learning import PromotionSettings
from models.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Decision:
    """Promoted, or refused with every reason that applies; `figures` are the numbers the gate looked at."""

    promoted: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


def decide(challenger: Evidence, champion: Evidence | None, baselines: Mapping[str, Evidence], limits: PromotionSettings) -> Decision:
    """Judge a challenger against the limits, the baselines (buy-and-hold, linear; staying flat is always one) and the champion, if there is one.

    Comparisons are of Sharpe ratios per bar on the holdout; equal is not better. Trades nothing is refused by the holdout test itself.
    """
    figures = measured(challenger, champion, baselines, limits)
    reasons = tuple(_reasons(figures, challenger, limits))
    return Decision(not reasons, reasons, figures)


def measured(challenger: Evidence, champion: Evidence | None, baselines: Mapping[str, Evidence], limits: PromotionSettings) -> dict[str, float]:
    """Every number the decision rests on, by name."""
    t, p = challenger.holdout_test(limits.block_bars)
    figures = {
        "holdout_t": t,
        "holdout_p": p,
        "holdout_sharpe": challenger.holdout_sharpe,
        "sharpe": challenger.sharpe,
        "deflated_sharpe": challenger.deflated_sharpe,
        "max_drawdown": challenger.worst_drawdown,
        "n_trials": float(challenger.n_trials),
        "trial_sharpe_variance": challenger.trial_sharpe_variance,
        "holdout_looks": float(challenger.holdout_looks),
        "holdout_sharpe_flat": 0.0,
    }
    rivals = {**baselines, **({} if champion is None else {"champion": champion})}
    return figures | {f"holdout_sharpe_{name}": rival.holdout_sharpe for name, rival in rivals.items()}


def _reasons(figures: Mapping[str, float], challenger: Evidence, limits: PromotionSettings) -> Iterator[str]:
    """Each rule in turn. Comparisons are written so that NaN fails them, and NaN is also named for what it is."""
    for name, returns in (("walk-forward", challenger.returns), ("holdout", challenger.holdout_returns)):
        if not len(returns) or not np.isfinite(returns).all():
            yield f"the {name} returns are empty or hold NaN"
    unknown = [name for name, value in figures.items() if not math.isfinite(value)]
    if unknown:
        yield f"not a number: {', '.join(unknown)}"
    if challenger.holdout_looks > 0:
        yield f"the holdout is spent: {challenger.holdout_looks} other models were tested on it before"
    if not figures["holdout_p"] <= limits.alpha:
        yield f"holdout block t-test p = {figures['holdout_p']:.3g} is above alpha = {limits.alpha:g}"
    if not figures["deflated_sharpe"] >= limits.min_deflated_sharpe:
        yield f"deflated Sharpe {figures['deflated_sharpe']:.3g} over {challenger.n_trials} trials is below {limits.min_deflated_sharpe:g}"
    if not figures["max_drawdown"] <= limits.max_drawdown:
        yield f"drawdown {figures['max_drawdown']:.3g} is above {limits.max_drawdown:g}"
    own, prefix = figures["holdout_sharpe"], "holdout_sharpe_"
    for name, rival in figures.items():
        if name.startswith(prefix) and not own > rival:
            yield f"holdout Sharpe {own:.3g} is not better than {name.removeprefix(prefix)}'s {rival:.3g}"
