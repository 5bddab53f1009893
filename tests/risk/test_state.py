"""The machine that says which orders may leave, alone and with the desk that asks it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from configs.risk import RiskSettings
from configs.vocabulary import Side, TradingState
from desk.books.journal import RiskMarks
from desk.errors import GateClosed
from desk.events import Control, Order
from desk.instruments import Instrument
from desk.risk.exposure import Book, RiskDesk, binding, marked
from desk.risk.state import Cue, transition

STEPS = int(os.environ.get("TRADEWIND_PROVE_STEPS", "300"))
RUN = min(STEPS, 60)
SYMBOLS = ("A/USDT", "B/USDT", "C/USDT")
GRID = {symbol: Instrument(symbol, symbol[:1], "USDT", Decimal("0.01"), Decimal(1), Decimal(5)) for symbol in SYMBOLS}
LIMITS = RiskSettings(
    max_position_weight=0.5,
    max_gross_weight=0.9,
    max_net_weight=0.7,
    max_concentration=0.9,
    max_orders_per_minute=2,
    max_drawdown=0.3,
    max_daily_loss=0.1,
)
CAUTION = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


@pytest.mark.parametrize(("state", "cue"), list(product(TradingState, Cue)))
def test_only_a_resume_relaxes(state: TradingState, cue: Cue) -> None:
    """All twelve pairs: eleven lead somewhere, and nothing but a resume leads to less caution."""
    if (state, cue) == (TradingState.HALTED, Cue.REDUCE):
        with pytest.raises(GateClosed, match="resume first"):
            transition(state, cue)
        return

    after = transition(state, cue)

    assert (cue is Cue.RESUME and after is TradingState.ACTIVE) or CAUTION.index(after) >= CAUTION.index(state)


def test_what_was_told_since_the_last_mark_counts_at_once() -> None:
    latched = RiskMarks(1.0, "2024-01-01", 1.0, False, False, TradingState.HALTED, 3)

    assert TradingState.HALTED is binding(None, Control(TradingState.HALTED))
    assert TradingState.HALTED is binding(latched, Control(TradingState.ACTIVE, resumed=3))
    assert TradingState.ACTIVE is binding(latched, Control(TradingState.ACTIVE, resumed=4))
    assert TradingState.HALTED is binding(latched, Control())


class RiskMachine(RuleBasedStateMachine):
    """An account whose equity jumps, an operator, and a trader who wants anything: what is approved is compared with limits computed afresh."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = RiskDesk(GRID, LIMITS)
        self.lots = dict.fromkeys(SYMBOLS, 0)
        self.closes = dict.fromkeys(SYMBOLS, 10.0)
        self.now = datetime(2024, 1, 1, tzinfo=UTC)
        self.told = Control()
        self.equity = 1000.0
        self.marks = marked(None, self.equity, self.now, LIMITS)

    @rule(factor=st.floats(0.85, 1.15), hours=st.integers(1, 9))
    def time_passes(self, factor: float, hours: int) -> None:
        before, self.now, self.equity = self.marks, self.now + timedelta(hours=hours), self.equity * factor
        self.marks = marked(before, self.equity, self.now, LIMITS, self.told)
        resumed = self.told.resumed > before.resumed
        assert resumed or CAUTION.index(self.marks.latched) >= CAUTION.index(before.latched)
        assert resumed or self.marks.reducing or not before.reducing
        assert self.marks.day_reducing or not (before.day_reducing and before.day == self.marks.day)

    @rule(state=st.sampled_from([TradingState.REDUCING, TradingState.HALTED]))
    def operator_turns(self, state: TradingState) -> None:
        if self.told.state is not TradingState.HALTED:
            self.told = Control(state, "drill", self.told.resumed)

    @rule()
    def operator_resumes(self) -> None:
        self.told = Control(TradingState.ACTIVE, "drill", self.told.resumed + 1)

    @rule(symbol=st.sampled_from(SYMBOLS), price=st.floats(1.0, 40.0))
    def price_moves(self, symbol: str, price: float) -> None:
        self.closes[symbol] = price

    @rule(wishes=st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(-80, 80).filter(bool)), min_size=1, max_size=3, unique_by=lambda wish: wish[0]))
    def trader_wishes(self, wishes: Sequence[tuple[str, int]]) -> None:
        orders = [(_order(symbol, lots, self.now), lots) for symbol, lots in sorted(wishes, key=lambda wish: wish[1] > 0)]
        approved, refused = self.desk.judge(orders, Book(self.lots, self.closes, self.equity, self.marks, self.told))
        assert len(approved) + len(refused) == len(orders)
        passed = {each.order.symbol for each in approved}
        sent = 0
        for order, delta in orders:
            held, after = self.lots[order.symbol], self.lots[order.symbol] + delta
            if order.symbol not in passed:
                assert self.marks.latched is TradingState.HALTED or abs(after) >= abs(held)
                continue
            assert self.marks.latched is not TradingState.HALTED
            before_net = self.net()
            self.lots[order.symbol] = after
            if abs(after) >= abs(held):
                assert self.marks.latched is TradingState.ACTIVE
                assert (False, False) == (self.marks.reducing, self.marks.day_reducing)
                self.within_limits(order.symbol, before_net)
                assert sent < LIMITS.max_orders_per_minute
            sent += 1

    def within_limits(self, symbol: str, before_net: float) -> None:
        """The book after an order that opened something, valued from nothing."""
        values = {name: lots * self.closes[name] for name, lots in self.lots.items()}
        gross, slack = sum(map(abs, values.values())), 1 + 1e-6
        assert abs(values[symbol]) <= LIMITS.max_position_weight * self.equity * slack
        assert gross <= LIMITS.max_gross_weight * self.equity * slack
        assert abs(self.net()) <= max(LIMITS.max_net_weight * self.equity, abs(before_net)) * slack
        assert abs(values[symbol]) <= LIMITS.max_concentration * max(gross, LIMITS.max_gross_weight * self.equity / 2) * slack

    def net(self) -> float:
        return sum(lots * self.closes[symbol] for symbol, lots in self.lots.items())

    @invariant()
    def the_journal_would_say_the_same(self) -> None:
        """A latch is part of the marks, and the marks are what is written down."""
        assert self.marks.latched is not TradingState.ACTIVE or not self.marks.reducing


def _order(symbol: str, lots: int, at: datetime) -> Order:
    return Order(f"tw-{symbol}{lots}", symbol, Side.BUY if lots > 0 else Side.SELL, Decimal(abs(lots)), at, Decimal(10))


TestRiskMachine = pytest.mark.timeout(0)(RiskMachine.TestCase)
TestRiskMachine.settings = settings(max_examples=max(STEPS // RUN, 1), stateful_step_count=RUN, deadline=None)
