"""Claim: on pure noise the gate promotes the best of a hundred searched strategies in less than one market of twenty, at 95 % confidence.

A run is a market of the library of noise, of each kind in turn, traded at no cost but the spread that the market has. The strategies chase or fade
what the price did; the best before the holdout is put to the gate that models are put to. Beside it: how often luck alone looks like skill, what an
unmodelled spread does, and how often something real is found.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _proof import Size, Verdict, prove
from numpy.typing import NDArray
from scipy.stats import beta

from configs.learning import PromotionSettings
from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.statistics import probabilistic_sharpe_ratio
from desk.backtest.worlds import Diffusion, Moments, World, noise, panels
from desk.measures import returns_of
from models.evidence import Evidence, null_sharpe_variance, sharpe_per_bar
from models.promotion import decide

Floats = NDArray[np.float64]
N_BARS, HOLDOUT_SHARE, VOLATILITY = 12_000, 0.25, 0.01
LOOKBACKS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
THRESHOLDS = (0.0, 0.5, 1.0, 1.5, 2.0)
# What is planted to measure power: correlation of what is known with the next return, and how long it stays known.
SKILL, PERSISTENCE, SKILL_COST_BPS = 0.10, 0.97, 5.0
LIMITS = PromotionSettings()
OPEN = RiskSettings(max_position_weight=100.0, max_gross_weight=100.0, max_drawdown=1.0, max_daily_loss=1.0, max_concentration=1.0)
MOST = 0.05


@dataclass(frozen=True)
class Found:
    """The best of a search: whether the gate promotes it, and what simpler judges would have said."""

    promoted: bool
    significant: bool
    looks_good: bool
    probable: bool


def fronts(bars: Panel) -> list[Floats]:
    """Exposures [time, 1] of every strategy: with or against the move of so many bars, when it is so many standard deviations."""
    moves = np.diff(np.log(bars.close[:, 0]), prepend=math.log(bars.open[0, 0]))
    total = np.concatenate(([0.0], np.cumsum(moves)))
    found = []
    for lookback in LOOKBACKS:
        z = np.zeros(len(moves))
        z[lookback - 1 :] = (total[lookback:] - total[:-lookback]) / (moves.std() * math.sqrt(lookback))
        found += [sign * (np.sign(z) * (np.abs(z) > threshold))[:, None] for threshold in THRESHOLDS for sign in (1.0, -1.0)]
    return found


def followers(known: Floats) -> list[Floats]:
    """Exposures that follow what is known, at every threshold."""
    return [(np.sign(known) * (np.abs(known) > threshold))[:, None] for threshold in THRESHOLDS]


def search(bars: Panel, candidates: list[Floats], half_spread_bps: float) -> Found:
    """Play all, keep the best before the holdout, ask the gate."""
    costs = CostSettings(fee_rate=0.0, half_spread_bps=half_spread_bps, impact_bps=0.0, participation_cap=1.0)
    ends = N_BARS - round(HOLDOUT_SHARE * N_BARS)

    def returns(targets: Floats) -> Floats:
        return returns_of(simulate(bars, targets, costs, OPEN, trading=TradingSettings()).equity)

    best = max((returns(targets) for targets in candidates), key=lambda found: sharpe_per_bar(found[:ends]))
    held = returns(np.ones_like(candidates[0]))
    evidence = Evidence(best[:ends], best[ends:], n_trials=len(candidates), trial_sharpe_variance=null_sharpe_variance(ends))
    decision = decide(evidence, None, {"buy and hold": Evidence(held[:ends], held[ends:])}, LIMITS)
    significant = decision.figures["holdout_p"] <= LIMITS.alpha
    return Found(decision.promoted, significant, evidence.sharpe > 0, probabilistic_sharpe_ratio(evidence.sharpe, ends) > 0.95)


def noise_market(number: int, seed: int, spread: bool) -> Found:
    """Search one market of the kind whose turn it is; `spread` says whether what the bounce has is paid."""
    kinds = noise(VOLATILITY)
    name = sorted(kinds)[number % len(kinds)]
    paid = VOLATILITY / 4 * 1e4 if name == "bounce" and spread else 0.0
    return searched(kinds[name], seed, paid)


def searched(world: World, seed: int, half_spread_bps: float) -> Found:
    """Draw a market of this world and search it."""
    (bars,) = panels(world, N_BARS, symbols=("A/USDT",), n_panels=1, seed=seed)
    return search(bars, fronts(bars), half_spread_bps)


@dataclass(frozen=True)
class Planted:
    """A world in which `known` tells the next return a little."""

    known: Floats

    @property
    def moments(self) -> Moments:
        """Those of the diffusion: what is known has variance one."""
        return Diffusion(0.0, VOLATILITY).moments

    def log_returns(self, n_bars: int, n_paths: int, random: np.random.Generator) -> Floats:
        """What was known at the close before, and luck."""
        before = np.concatenate(([0.0], self.known[:-1]))[:, None]
        return VOLATILITY * (SKILL * before + math.sqrt(1 - SKILL**2) * random.standard_normal((n_bars, n_paths)))


def planted(seed: int) -> Found:
    """Search a market in which something is known, among strategies most of which do not use it."""
    shocks = np.random.default_rng([seed, 1]).standard_normal(N_BARS)
    known = np.empty(N_BARS)
    level = shocks[0]
    for bar, shock in enumerate(shocks):
        level = PERSISTENCE * level + math.sqrt(1 - PERSISTENCE**2) * shock if bar else shock
        known[bar] = level
    (bars,) = panels(Planted(known), N_BARS, symbols=("A/USDT",), n_panels=1, seed=seed)
    return search(bars, fronts(bars) + followers(known), SKILL_COST_BPS)


def part(searches: list[Found], said: Callable[[Found], bool]) -> float:
    return round(sum(map(said, searches)) / len(searches), 3)


def noise_gate(seed: int, runs: int) -> Verdict:
    """Search noise; then a few markets where the bounce's spread is not paid, and a few with something to find."""
    began = time.monotonic()
    seeds = [int(each) for each in np.random.SeedSequence(seed).generate_state(runs)]
    found = [noise_market(number, each, spread=True) for number, each in enumerate(seeds)]
    few = seeds[: max(runs // 5, 1)]
    unpaid = [searched(noise(VOLATILITY)["bounce"], each, 0.0) for each in few]
    real = [planted(each) for each in few]
    promoted = sum(each.promoted for each in found)
    bound = float(beta.ppf(0.95, promoted + 1, runs - promoted)) if promoted < runs else 1.0
    detail = {
        "promoted": promoted,
        "significant_on_the_holdout": part(found, lambda each: each.significant),
        "looked_good_before_the_holdout": part(found, lambda each: each.looks_good),
        "probable_were_it_the_only_trial": part(found, lambda each: each.probable),
        "promoted_with_the_spread_unpaid": part(unpaid, lambda each: each.promoted),
        "promoted_with_something_to_find": part(real, lambda each: each.promoted),
        "strategies": len(LOOKBACKS) * len(THRESHOLDS) * 2,
        "seconds": round(time.monotonic() - began, 1),
    }
    return Verdict(runs, round(bound, 4), "false promotions, upper 95 % bound", f"<= {MOST}", bound <= MOST, detail)


if __name__ == "__main__":
    sys.exit(prove("noise-gate", Size(200, 2000), noise_gate))
