"""One instrument, and a journal that some hypothesis wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from configs.vocabulary import OrderKind, OrderLife, Side, TradingState
from desk.books.journal import Journal, RiskMarks, Step
from desk.events import Approved, Control, Fill, Flow, Order
from desk.instruments import Instrument

SYMBOL = "BTC/USDT"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


class Writer:
    """Writes a journal as a session does: what it hears is booked on its portfolio and written down."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.number = 0

    @property
    def now(self) -> datetime:
        """Of the newest step."""
        return BEGIN + timedelta(hours=self.number)

    def order(self, name: str, kind: OrderKind = OrderKind.MARKET) -> Order:
        """A small order of the newest step."""
        life, stop = (OrderLife.GTC, Decimal(50)) if kind is OrderKind.STOP else (OrderLife.BAR, None)
        side = Side.SELL if kind is OrderKind.STOP else Side.BUY
        return Order(f"tw-{self.number}-{name}", SYMBOL, side, Decimal("0.010"), self.now, Decimal(100), kind, life, None, stop, kind is OrderKind.STOP)

    def fill(self, price: int, *, sells: bool, trade: str = "") -> Fill:
        """An execution of the newest step's order."""
        side = Side.SELL if sells else Side.BUY
        amounts = Decimal("0.010"), Decimal(price), Decimal("0.0001")
        return Fill(f"tw-{self.number}-a", trade or f"t{self.number}", SYMBOL, side, *amounts, "BTC" if price % 2 else "USDT", self.now)

    def step(self, fills: tuple[Fill, ...], *, stop: bool) -> None:
        """One close."""
        self.number += 1
        approved = (Approved(self.order("a")), *((Approved(self.order("s", OrderKind.STOP)),) if stop else ()))
        equity = 1000.0 + self.number % 7
        marks = RiskMarks(1007.0, self.now.date().isoformat(), equity, False, False)
        stops = tuple(each.order for each in approved if each.order.kind is OrderKind.STOP)
        exposures, closes = {SYMBOL: 0.5}, {SYMBOL: 100.0 + self.number % 5}
        self.journal.record_step(Step(self.now, "d", fills, (), approved, (), "h", equity, marks, exposures, closes, "m", stops))

    def happen(self, what: str) -> None:
        """Something else between two steps."""
        order = self.order("a")
        match what:
            case "confirmed" | "rejected":
                self.journal.record_answers(self.now, [(order.order_id, what, "")])
            case "stop rejected":
                self.journal.record_answers(self.now, [(self.order("s").order_id, "rejected", "")])
            case "settled":
                self.journal.record_settled(self.now, [self.fill(99, sells=True, trade=f"s{self.number}")])
            case "halted":
                self.journal.record_control(self.now, Control(TradingState.HALTED, "why", self.number), sending=False)
            case "closed":
                self.journal.record_intents(self.now, [Approved(self.order("x", OrderKind.STOP))])
            case "deposit":
                self.journal.record_flows(self.now, [Flow(f"deposit-{self.number}", "deposit", "USDT", Decimal("12.5"), self.now)])
            case "withdrawal":
                self.journal.record_flows(self.now, [Flow(f"withdrawal-{self.number}", "withdrawal", "BTC", Decimal("-0.001"), self.now)])


@pytest.fixture
def instruments() -> dict[str, Instrument]:
    return {SYMBOL: Instrument(SYMBOL, "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))}


@pytest.fixture
def writer_of() -> type[Writer]:
    """`writer_of(journal)`."""
    return Writer
