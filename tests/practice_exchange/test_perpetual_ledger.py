"""The books of the contract side under random trading: sums conserved to the last digit, worth explained by cash flows alone."""

from __future__ import annotations

import os
from decimal import Decimal

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.margin import largest_notional
from desk.practice_exchange.perpetual_orders import ContractLife, ContractOrder, Watch, WatchKind
from desk.practice_exchange.refusals import Refusal
from tests.practice_exchange.perpetual_stage import SYMBOL, Bar, Stage, tape_of

STEPS = int(os.environ.get("TRADEWIND_PROVE_STEPS", "600"))
STEPS_PER_RUN = 40
OTHER = "ETH/USDT"
BARS = 200
ZERO = Decimal(0)
COSTS = CostSettings(fee_rate=0.0004, half_spread_bps=1.0, impact_bps=10.0, participation_cap=0.5)
QUANTITIES = st.integers(1, 190_000).map(lambda lots: str(Decimal(lots) / 1000))
DISTANCES = st.integers(-400, 400)


def walked(seed: int) -> list[Bar]:
    """Bars of a wild market: 5 % an hour, so that liquidations and gaps happen."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.05, BARS)))
    rows = []
    for number, close in enumerate(closes):
        opened = float(closes[max(number - 1, 0)] * np.exp(random.normal(0, 0.01)))
        high, low = max(opened, close) * float(1 + random.exponential(0.02)), min(opened, close) / float(1 + random.exponential(0.02))
        rows.append(tuple(round(float(price), 2) for price in (opened, high, low, close)))
    return rows  # type: ignore[return-value]


class Books(RuleBasedStateMachine):
    """Orders of every kind, cancels, leverage and time in any order."""

    @initialize(seed=st.integers(0, 50))
    def open(self, seed: int) -> None:
        self.stage = Stage(tape_of({SYMBOL: walked(seed), OTHER: walked(seed + 1000)}), deposit="1000", rate=None, costs=COSTS)
        self.orders: list[ContractOrder] = []
        self.watches: list[Watch] = []

    @rule(side=st.sampled_from(Side), quantity=QUANTITIES, reduces=st.booleans(), symbol=st.sampled_from((SYMBOL, OTHER)))
    def take(self, side: Side, quantity: str, reduces: bool, symbol: str) -> None:
        self.tried(lambda: self.orders.append(self.stage.order(side, quantity, reduces=reduces, symbol=symbol)))

    @rule(side=st.sampled_from(Side), quantity=QUANTITIES, distance=DISTANCES, life=st.sampled_from(ContractLife), reduces=st.booleans())
    def rest(self, side: Side, quantity: str, distance: int, life: ContractLife, reduces: bool) -> None:
        self.tried(lambda: self.orders.append(self.stage.order(side, quantity, self.price(distance), life=life, reduces=reduces)))

    @rule(kind=st.sampled_from(WatchKind), side=st.sampled_from(Side), quantity=QUANTITIES, distance=DISTANCES, reduces=st.booleans(), by_mark=st.booleans())
    def wait(self, kind: WatchKind, side: Side, quantity: str, distance: int, reduces: bool, by_mark: bool) -> None:
        more = {"price": self.price(distance), "callback": "1.5", "reduces": reduces, "by_mark": by_mark}
        self.tried(lambda: self.watches.append(self.stage.watch(kind, side, quantity, self.price(distance), **more)))

    @rule(pick=st.integers(0), quantity=QUANTITIES, distance=DISTANCES)
    def amend(self, pick: int, quantity: str, distance: int) -> None:
        if self.orders:
            order = self.orders[pick % len(self.orders)]
            self.tried(lambda: self.stage.market.amend(order, Decimal(quantity), Decimal(self.price(distance))))

    @rule(pick=st.integers(0))
    def cancel(self, pick: int) -> None:
        if self.orders:
            self.tried(lambda: self.stage.market.cancel(self.orders[pick % len(self.orders)]))
        if self.watches:
            self.tried(lambda: self.stage.market.cancel_watch(self.watches[pick % len(self.watches)]))

    @rule(leverage=st.integers(1, 125))
    def lever(self, leverage: int) -> None:
        self.tried(lambda: self.stage.market.set_leverage(SYMBOL, leverage))

    @rule(bars=st.integers(1, 8))
    def close(self, bars: int) -> None:
        if not self.stage.clock.over:
            self.stage.close(min(bars, BARS - 1 - (self.stage.clock.settled_ms - self.stage.market.starts_at_ms) // self.stage.clock.step_ms))

    def price(self, distance: int) -> str:
        """A price so many basis points from the mark."""
        mark = self.stage.market.account.mark(SYMBOL, self.stage.market.settled_ms)
        return str((mark * (10_000 + distance) / 10_000).quantize(Decimal("0.01")))

    def tried(self, action: object) -> None:
        """A refusal must leave everything as it was."""
        before = self.stage.book.everything(0)
        try:
            action()  # type: ignore[operator]
        except Refusal:
            assert before == self.stage.book.everything(0)

    @invariant()
    def conserved(self) -> None:
        """Six places hold the deposit, to the last digit; what positions cost is what is carried."""
        for purse in self.stage.book.ledger.purses.values():
            assert purse.deposited == purse.total
            assert -sum((held.cost for held in self.stage.book.ledger.positions.values()), ZERO) == purse.carried

    @invariant()
    def explained(self) -> None:
        """Wallet plus unrealised profit from fills, funding and insurance alone, without any entry price or realised profit."""
        book, account = self.stage.book, self.stage.market.account
        worth = Decimal(1000)
        held = dict.fromkeys((SYMBOL, OTHER), ZERO)
        for fill in book.fills:
            worth -= fill.side.sign * fill.quantity * fill.price + fill.commission
            held[fill.symbol] += fill.side.sign * fill.quantity
        purse = book.ledger.purse("USDT")
        worth += -purse.funding - purse.insurance
        worth += sum((quantity * account.mark(symbol, self.stage.market.settled_ms) for symbol, quantity in held.items()), ZERO)
        assert account.standing("USDT", self.stage.market.settled_ms).balance == worth
        assert all(quantity == book.ledger.held(symbol).quantity for symbol, quantity in held.items())

    @invariant()
    def told_by_incomes(self) -> None:
        """Every movement of the wallet is an income, but for what the insurance fund makes good."""
        book, purse = self.stage.book, self.stage.book.ledger.purse("USDT")
        fees = sum((income.amount for income in book.incomes if income.kind == "INSURANCE_CLEAR"), ZERO)
        moved = sum((income.amount for income in book.incomes), ZERO) - fees - purse.insurance
        assert purse.wallet == 1000 + moved

    @invariant()
    def bounded(self) -> None:
        """No order fills above its quantity, open is what has something left, a flat position costs nothing, leverage bounds what was opened."""
        for order in self.stage.book.orders.values():
            assert order.filled <= order.quantity
            assert order.filled == sum((fill.quantity for fill in self.stage.book.fills if fill.order_id == order.id), ZERO)
        for held in self.stage.book.ledger.positions.values():
            assert bool(held.quantity) == bool(held.cost)
        assert largest_notional(self.stage.market.account.leverage(SYMBOL)) > 0

    @invariant()
    def solvent(self) -> None:
        """After every boundary a position is backed by more than its maintenance, and a flat account is never below zero."""
        standing = self.stage.market.account.standing("USDT", self.stage.market.settled_ms)
        if self.stage.book.fills and self.stage.book.fills[-1].at_ms < self.stage.market.settled_ms and standing.maintenance:
            assert standing.balance > standing.maintenance
        if not standing.maintenance and not standing.unrealised:
            assert standing.wallet >= 0


Books.TestCase.settings = settings(
    max_examples=max(STEPS // STEPS_PER_RUN, 1),
    stateful_step_count=STEPS_PER_RUN,
    deadline=None,
    derandomize="TRADEWIND_PROVE_STEPS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
TestContractBooks = Books.TestCase
