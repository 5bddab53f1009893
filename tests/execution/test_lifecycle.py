"""The life of an order: whatever an exchange reports in whatever order, nothing counts twice, nothing exceeds the order, an end is an end."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from configs.vocabulary import Side
from desk.errors import BookMismatch
from desk.events import Order
from desk.execution.lifecycle import MOVES, OrderState, Tracked, state_of

STEPS = int(os.environ.get("TRADEWIND_PROVE_STEPS", "2000"))
STEPS_A_RUN = 50
ENDS = {OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED}


def order(quantity: int = 10) -> Order:
    return Order("tw-1", "BTC/USDT", Side.BUY, Decimal(quantity), datetime(2024, 1, 1, tzinfo=UTC), Decimal(100))


class OrderMachine(RuleBasedStateMachine):
    """A model beside the machine: the history of states and a plain dictionary of trades."""

    steps: ClassVar[int] = 0

    @initialize(quantity=st.integers(1, 12))
    def begin(self, quantity: int) -> None:
        self.tracked = Tracked(order(quantity))
        self.history = [OrderState.INTENDED]
        self.trades: dict[str, Decimal] = {}

    @rule(to=st.sampled_from(OrderState))
    def move(self, to: OrderState) -> None:
        before = self.tracked.state
        try:
            self.tracked.move(to)
        except BookMismatch:
            assert to not in MOVES[before]
            assert before is self.tracked.state
            return
        self.history.append(to)

    @rule(trade=st.integers(0, 8), quantity=st.integers(1, 5))
    def execute(self, trade: int, quantity: int) -> None:
        name, amount, before = str(trade), Decimal(quantity), sum(self.trades.values())
        try:
            counted = self.tracked.count(name, amount)
        except BookMismatch:
            assert before + amount > self.tracked.order.quantity
            return
        assert counted == (name not in self.trades)
        self.trades.setdefault(name, amount)

    @invariant()
    def what_was_executed_is_the_sum_of_its_trades_and_never_too_much(self) -> None:
        OrderMachine.steps += 1
        assert sum(self.trades.values()) == self.tracked.filled <= self.tracked.order.quantity
        assert self.tracked.filled + self.tracked.remaining == self.tracked.order.quantity

    @invariant()
    def an_end_is_an_end_and_nothing_is_rejected_that_once_worked(self) -> None:
        ended = [state for state in self.history if state in ENDS]
        assert set(ended) == set(ended[:1])
        assert not ended or self.tracked.ended
        if OrderState.REJECTED in self.history:
            assert not {OrderState.WORKING, OrderState.PARTIALLY_FILLED, OrderState.CANCELLING} & set(self.history)


OrderMachine.TestCase.settings = settings(max_examples=max(STEPS // STEPS_A_RUN, 10), stateful_step_count=STEPS_A_RUN, deadline=None)
test_every_history_of_an_order_is_a_possible_one = pytest.mark.timeout(0 if STEPS > 20_000 else 120)(OrderMachine.TestCase)


def test_every_state_has_its_moves_and_every_state_can_be_reached() -> None:
    reached, edge = {OrderState.INTENDED}, {OrderState.INTENDED}
    while edge:
        edge = {to for state in edge for to in MOVES[state]} - reached
        reached |= edge

    assert set(OrderState) == set(MOVES)
    assert set(OrderState) == reached


@pytest.mark.parametrize("end", sorted(ENDS))
def test_no_end_leads_anywhere_but_to_itself(end: OrderState) -> None:
    assert frozenset({end}) == MOVES[end]


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("open", 0, "working"),
        ("open", 1, "partially_filled"),
        ("closed", 1, "filled"),
        ("canceled", 1, "cancelled"),
        ("expired", 0, "expired"),
        ("rejected", 0, "rejected"),
    ],
)
def test_an_exchanges_word_means_one_state(status: str, filled: int, state: str) -> None:
    assert state == state_of(status, Decimal(filled))


@pytest.mark.parametrize("status", [None, "", "NEW", "pending"])
def test_a_word_nobody_knows_stops(status: str | None) -> None:
    with pytest.raises(BookMismatch, match="speaks another language"):
        state_of(status, Decimal(0))
