"""Against other people's libraries: figures they gave, kept here with their versions, and the libraries themselves where they are installed.

Recorded with empyrical-reloaded 0.7.1, quantstats 0.0.86, arch 8.0.0 and skfolio 1.12.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from desk import measures
from desk.backtest.folds import combinatorial_paths, combinatorial_purged
from desk.backtest.statistics import optimal_block_bars, superior_predictive_abilities

Ask = Callable[..., Any]

MEASURES = {
    "sharpe": -0.00039642988472832907,
    "sortino": -0.0005183467930196929,
    "calmar": -0.1496946555120626,
    "max_drawdown": 0.29531622351083225,
    "value_at_risk": 0.02212262197594058,
    "expected_shortfall": 0.03719360934519477,
    "hit_rate": 0.518,
    "profit_factor": 0.9999392823725608,
}
BLOCKS = {(1, 0.0): 1.1141416677449838, (2, 0.3): 6.392275658459471, (3, 0.6): 14.107610061078626, (4, 0.9): 39.99214261462973, (5, -0.4): 8.137655143478707}
ABILITIES = {"lower": 0.0035, "consistent": 0.006, "upper": 0.0115}


def heavy_tails(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, 500) * 0.01 + 0.0005


def remembering(seed: int, memory: float) -> np.ndarray:
    """An autoregression of order one."""
    values = np.random.default_rng(seed).normal(0, 0.01, 1000)
    for row in range(1, len(values)):
        values[row] += memory * values[row - 1]
    return values


def company(seed: int) -> np.ndarray:
    """One good strategy among five poor ones."""
    returns = np.random.default_rng(seed).normal(0.0004, 0.01, (600, 6))
    returns[:, 1:] -= 0.0012
    return returns


def ours(returns: np.ndarray) -> dict[str, float]:
    equity = np.concatenate(([1.0], np.cumprod(1 + returns)))
    yearly = {name: getattr(measures, name)(returns, 365) for name in ("sharpe", "sortino", "calmar")}
    plain = {name: getattr(measures, name)(returns) for name in ("value_at_risk", "expected_shortfall", "hit_rate", "profit_factor")}
    return {**yearly, **plain, "max_drawdown": measures.max_drawdown(equity)}


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_measures_are_those_that_other_libraries_gave(name: str) -> None:
    assert pytest.approx(MEASURES[name], rel=1e-9) == ours(heavy_tails(8))[name]


@pytest.mark.parametrize(("seed", "memory"), sorted(BLOCKS))
def test_the_optimal_block_is_the_one_that_arch_gave(seed: int, memory: float) -> None:
    assert pytest.approx(BLOCKS[seed, memory], rel=1e-9) == optimal_block_bars(remembering(seed, memory))


@pytest.mark.parametrize("name", sorted(ABILITIES))
def test_superior_ability_is_as_likely_luck_as_arch_found(name: str) -> None:
    """Other random numbers: 2,000 resamples leave a p of .01 uncertain by .0022 on each side."""
    found = getattr(superior_predictive_abilities(company(6), mean_block_bars=5, n_resamples=2000, seed=3), name)

    assert pytest.approx(ABILITIES[name], abs=0.009) == found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_measures_agree_with_the_libraries_on_other_returns(ask: Ask) -> None:
    found = ours(heavy_tails(1))
    for library in ("measures", "stats"):
        told = ask(library, returns=heavy_tails(1).tolist())
        assert pytest.approx(told, rel=1e-9) == {name: found[name] for name in told}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_optimal_blocks_agree_with_arch_on_other_returns(ask: Ask) -> None:
    records = [remembering(seed, memory) for seed, memory in ((11, 0.1), (12, 0.5), (13, 0.8))]

    told = ask("block", returns=[returns.tolist() for returns in records])

    assert pytest.approx([max(block, 1.0) for block in told], rel=1e-9) == [optimal_block_bars(returns) for returns in records]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_superior_ability_agrees_with_arch_on_other_returns(ask: Ask) -> None:
    """Two independent draws of 2,000: 4 sds of their difference at a p of .5 are .063."""
    worlds = [np.random.default_rng(seed).normal(0.0001, 0.01, (400, 5)) for seed in (21, 22, 23)]

    answers = ask("spa", returns=[world.tolist() for world in worlds], block_bars=4, seed=1)

    for world, told in zip(worlds, answers, strict=True):
        found = superior_predictive_abilities(world, mean_block_bars=4, n_resamples=2000, seed=1)
        assert pytest.approx(told, abs=0.063) == {name: getattr(found, name) for name in told}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_combinatorial_folds_and_paths_agree_with_skfolio(ask: Ask) -> None:
    told = ask("folds", n_rows=120, groups=6, tested=2, purged=4)

    folds = combinatorial_purged(120, n_groups=6, n_test_groups=2, label_bars=4, embargo_bars=0)

    assert told["train"] == [train.tolist() for train, _ in folds]
    assert told["paths"] == [[fold for fold, _ in path] for path in combinatorial_paths(120, n_groups=6, n_test_groups=2)]
