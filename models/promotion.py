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
class Check:
    """One condition of the gate, in words: what was found, what was needed."""

    name: str
    found: str
    needed: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Promoted only if every check passed; `figures` are the numbers behind them."""

    checks: tuple[Check, ...]
    figures: dict[str, float]

    @property
    def promoted(self) -> bool:
        """Whether every condition holds."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every condition that does not hold, one sentence each; empty when promoted."""
        return tuple(f"{check.name}: needed {check.needed}, found {check.found}" for check in self.checks if not check.passed)


def decide(challenger: Evidence, champion: Evidence | None, baselines: Mapping[str, Evidence], limits: PromotionSettings) -> Decision:
    """Judge a challenger against the limits, the baselines (buy-and-hold, linear; staying flat is always one) and the champion, if there is one.

    Comparisons are of Sharpe ratios per bar on the holdout; equal is not better. A strategy that trades nothing fails the holdout test itself.
    """
    figures = measured(challenger, champion, baselines, limits)
    return Decision(tuple(_checks(figures, challenger, limits)), figures)


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
    }
    return figures | {_rival(name): sharpe for name, sharpe in _rivals(champion, baselines)}


def _rivals(champion: Evidence | None, baselines: Mapping[str, Evidence]) -> Iterator[tuple[str, float]]:
    yield "flat", 0.0
    for name, baseline in sorted(baselines.items()):
        yield name, baseline.holdout_sharpe
    if champion is not None:
        yield "champion", champion.holdout_sharpe


def _rival(name: str) -> str:
    return f"holdout_sharpe_{name}"


def _checks(figures: Mapping[str, float], challenger: Evidence, limits: PromotionSettings) -> Iterator[Check]:
    """Each rule in turn; comparisons are written so that NaN fails them."""
    unknown = [name for name, value in figures.items() if not math.isfinite(value)]
    returns = {"walk-forward returns": challenger.returns, "holdout returns": challenger.holdout_returns}
    unknown += [name for name, values in returns.items() if not len(values) or not np.isfinite(values).all()]
    yield Check("evidence", f"not a number: {', '.join(unknown)}" if unknown else "finite", "finite numbers throughout", not unknown)
    looks = figures["holdout_looks"]
    yield Check("untouched holdout", f"{looks:g} models tested on it before", "0 before", looks == 0)
    p, deflated, fall = figures["holdout_p"], figures["deflated_sharpe"], figures["max_drawdown"]
    yield Check("holdout block t-test", f"p = {p:.3g}", f"p <= {limits.alpha:g}", p <= limits.alpha)
    yield Check(
        f"deflated Sharpe over {challenger.n_trials} trials", f"{deflated:.3g}", f">= {limits.min_deflated_sharpe:g}", deflated >= limits.min_deflated_sharpe
    )
    yield Check("largest drawdown", f"{fall:.3g}", f"<= {limits.max_drawdown:g}", fall <= limits.max_drawdown)
    own = figures["holdout_sharpe"]
    for name, rival in figures.items():
        if name.startswith(_rival("")):
            yield Check(f"better than {name.removeprefix(_rival(''))} on the holdout", f"Sharpe {own:.3g} per bar", f"> {rival:.3g}", own > rival)
