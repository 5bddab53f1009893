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


def test_what_fills_pay_is_exact_although_no_float_is_the_fee_rate() -> None:
    """A thousand fills of a fee of 1.23 %, and of a tick of a cent on lots of a thousandth: to a millionth of a millionth of what cash can show."""
    rate, value = Decimal("0.0123"), Decimal("0.00001")
    rules = Stage.of(one_bar(), CostSettings(fee_rate=float(rate)), RiskSettings(), instruments=None, trading=TradingSettings()).rules
    on_float = (float(value), float(value - Decimal(float(value))))
    cash, exact = (1e9, 0.0), Fraction(10**9)
    random = np.random.default_rng(2)

    for lots, ticks in zip(random.integers(-(10**6), 10**6, 1000).tolist(), random.integers(1, 10**7, 1000).tolist(), strict=True):
        cash = loop.paid(cash, (lots, ticks), on_float, rules)
        notional = abs(lots) * ticks * Fraction(value)
        exact -= (notional if lots > 0 else -notional) + notional * Fraction(rate)

    assert abs(Fraction(cash[0]) + Fraction(cash[1]) - exact) < Fraction(1, 10**17)
    assert float(exact) == cash[0]


def one_bar() -> Panel:
    ones = np.ones((1, 1))
    return Panel(np.array(["2024-01-01"], dtype="datetime64[us]"), ("BTC/USDT",), ones, ones, ones, ones, ones)
