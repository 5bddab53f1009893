"""What the loop sums on its way is what the measures say of the curve it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk import measures
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel


@given(seed=st.integers(0, 10_000), assets=st.integers(1, 4), rows=st.integers(3, 400))
@settings(max_examples=40)
def test_every_measure_is_that_of_the_equity_curve(
    market: Callable[[int, int, int], Panel], open_limits: RiskSettings, seed: int, assets: int, rows: int
) -> None:
    bars = market(seed, rows, assets)
    wishes = np.random.default_rng(seed).choice([0.0, 0.5, 1.0, np.nan], (rows, assets))

    found = simulate(bars, wishes, CostSettings(), open_limits)

    returns, year = measures.returns_of(found.equity), bars.bars_per_year
    expected = {
        "sharpe": measures.sharpe(returns, year),
        "sortino": measures.sortino(returns, year),
        "calmar": measures.calmar(returns, year),
        "max_drawdown": measures.max_drawdown(found.equity),
        "hit_rate": measures.hit_rate(returns),
        "profit_factor": measures.profit_factor(returns),
        "value_at_risk": measures.value_at_risk(returns),
        "expected_shortfall": measures.expected_shortfall(returns),
        "fees": float(found.fills["fee"].sum()),
        "turnover": measures.turnover(float((found.fills["quantity"] * found.fills["price"]).sum()), found.equity, year),
        "fills": len(found.fills),
    }
    assert expected == pytest.approx({name: found.measures[name] for name in expected}, rel=1e-9, abs=1e-12, nan_ok=True)
    assert len(list(found.measures)) == len(found.measures) > 10


def test_an_account_that_never_trades_has_no_ratios(market: Callable[[int, int, int], Panel]) -> None:
    found = simulate(market(1, 50, 2), np.zeros((50, 2)), CostSettings(), RiskSettings()).measures

    assert [0.0, 0.0, 0.0] == [found["total_return"], found["max_drawdown"], found["volatility"]]
    assert all(math.isnan(found[name]) for name in ("sharpe", "sortino", "calmar", "hit_rate", "profit_factor"))
