"""The loop as plain Python: what numba compiles is what is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import loop
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.stage import Stage

amounts = st.decimals("0.00000001", "99999999", places=8)


def test_python_and_the_compiler_read_the_same_words(market: Callable[[int, int, int], Panel]) -> None:
    """A market in which guards refuse, cash runs short and volumes cap: equal to the last bit."""
    bars = market(11, 250, 3)
    wishes = np.repeat(np.random.default_rng(11).uniform(-0.5, 1, (50, 3)), 5, axis=0)
    account = TradingSettings(gross_weight=1.5)
    costs, limits = CostSettings(participation_cap=0.5), RiskSettings(max_drawdown=0.1, max_daily_loss=0.02)

    machine = simulate(bars, wishes, costs, limits, trading=account)
    run = Stage.of(bars, costs, limits, instruments=None, trading=account).run(wishes)
    loop.play(run)

    assert [len(machine.fills), len(machine.refusals), 0] == run.account.counts[:3].tolist()
    assert machine.equity.tolist() == run.equity.tolist()
    assert machine.fills["ticks"].to_list() == run.account.fills["ticks"][: len(machine.fills)].tolist()
    assert (machine.positions[-1] / 1e-8).round().tolist() == run.account.book["lots"].tolist()


@given(left=st.floats(1e-8, 1e12), right=st.floats(1e-8, 1e12))
def test_a_product_and_what_it_lost_are_the_exact_product(left: float, right: float) -> None:
    product, lost = loop.exact_product(left, right)

    assert Fraction(left) * Fraction(right) == Fraction(product) + Fraction(lost)


@given(start=amounts, flows=st.lists(amounts, max_size=50))
def test_cash_in_two_floats_is_the_float_nearest_to_decimal_cash(start: Decimal, flows: list[Decimal]) -> None:
    cash = (float(start), float(start - Decimal(float(start))))
    exact = start

    for number, flow in enumerate(flows):
        signed = flow if number % 2 else -flow
        cash = loop.exact_sum(cash, float(signed), float(signed - Decimal(float(signed))))
        exact += signed

    # on the grid of 1e-8 only zero itself can be missed, by the error of a sum of sums: far below any amount of money
    assert float(exact) == cash[0] or (exact == 0 and abs(cash[0]) < 1e-20)
