"""What the last searches taught: a narrower place to look next, inside the declared bounds.

Pure: trials in, a proposal out. Features, costs and risk are never proposed from here: those need a person's approval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Fewer finished trials than this say nothing about where to look.
MIN_TRIALS = 12
# The best share of trials that draws the next bounds.
BEST_SHARE = 1 / 3
# The narrowed interval is widened on each side by this share of its own (log) length, so that the next search may move.
MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Proposal:
    """New bounds by parameter, each inside the declared ones, and the reason in words."""

    bounds: dict[str, tuple[float, float]]
    reason: str


def propose_search(trials: Sequence[Mapping[str, object]], declared: Mapping[str, tuple[float, float]]) -> Proposal:
    """Bounds around the best third of the finished trials, on a log scale where both declared bounds are positive.

    `trials` carry "params" (name -> value) and "score" (higher is better; NaN is not counted). Ours: successive narrowing, never widening.
    """
    scored = sorted(((float(str(t["score"])), t["params"]) for t in trials if t.get("score") is not None), key=lambda pair: -pair[0])
    finite = [(score, params) for score, params in scored if math.isfinite(score) and isinstance(params, Mapping)]
    if len(finite) < MIN_TRIALS:
        return Proposal({}, f"{len(finite)} finished trials, {MIN_TRIALS} are needed before the search is narrowed")
    best = [params for _, params in finite[: max(2, int(len(finite) * BEST_SHARE))]]
    bounds = {name: _around([float(p[name]) for p in best if name in p], limits) for name, limits in declared.items()}
    changed = {name: new for name, new in bounds.items() if new != tuple(declared[name])}
    return Proposal(changed, f"the best {len(best)} of {len(finite)} trials lie there")


def _around(values: Sequence[float], limits: tuple[float, float]) -> tuple[float, float]:
    """The span of the values, widened by the margin, clipped to the limits; the limits themselves when nothing is known."""
    low, high = limits
    if not values or low >= high:
        return (low, high)
    log = low > 0
    inside = [math.log(v) if log else v for v in values]
    pad = MARGIN * (max(inside) - min(inside)) or MARGIN * ((math.log(high) - math.log(low)) if log else high - low) / 4
    lower, upper = min(inside) - pad, max(inside) + pad
    if log:
        lower, upper = math.exp(lower), math.exp(upper)
    return (max(low, float(f"{lower:.3g}")), min(high, float(f"{upper:.3g}")))
