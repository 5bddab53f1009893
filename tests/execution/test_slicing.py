"""A slicer sends no more than the market traded, and stops at the first slice that is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from configs.trading import ExecutionSettings
from configs.vocabulary import Route, Side
from desk.clock import WallClock
from desk.events import Order
from desk.execution.liquidity import Liquidity
from desk.execution.router import Plan, Slice
from desk.execution.slicing import Slicer
from desk.execution.venue import Answer, Outcome
from desk.instruments import Instrument

BTC = Instrument("BTC/USDT", "BTC", "USDT", tick=Decimal("0.01"), lot=Decimal("0.001"), min_notional=Decimal(5))
ORDER = Order("tw-1", "BTC/USDT", Side.BUY, Decimal(3), datetime(2024, 1, 1, tzinfo=UTC), Decimal(100))
PLAN = Plan(Route.POV, tuple(Slice(Decimal(1), 1.0 * (index > 0)) for index in range(3)), 1.0)


class Tape:
    """Trades of 5 base, a second apart: one more at each question."""

    def __init__(self) -> None:
        self.asked = 0

    def fetch_trades(self, symbol: str, since: int | None, limit: int | None) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"timestamp": 1000 * number, "amount": 5.0} for number in range(1, self.asked + 1)]


class Line:
    """Takes slices until the outcomes run out."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes, self.sent, self.paused = list(outcomes), [], 0.0

    def send_slice(self, parent: Order, child: Order) -> Answer:
        self.sent.append(child.quantity)
        return Answer(child.order_id, self.outcomes.pop(0), "said so")

    def pause(self, seconds: float) -> None:
        self.paused += seconds


@pytest.mark.parametrize(
    ("outcomes", "end", "sent"),
    [
        ([Outcome.CONFIRMED] * 3, Outcome.CONFIRMED, ["1", "0.5", "0.5"]),
        ([Outcome.CONFIRMED, Outcome.REJECTED], Outcome.CONFIRMED, ["1", "0.5"]),
        ([Outcome.REJECTED], Outcome.REJECTED, ["1"]),
        ([Outcome.CONFIRMED, Outcome.UNRESOLVED], Outcome.UNRESOLVED, ["1", "0.5"]),
    ],
)
def test_a_tenth_of_what_was_traded_since_goes_out(outcomes: list[Outcome], end: Outcome, sent: list[str]) -> None:
    line: Any = Line(*outcomes)
    slicer = Slicer(Liquidity(Tape(), WallClock(), 2.0), ExecutionSettings(route=Route.POV, pov_share=0.1), BTC)

    answer = slicer.run(ORDER, PLAN, line)

    assert end is answer.outcome
    assert [Decimal(quantity) for quantity in sent] == line.sent
    assert len(line.sent) - 1 == line.paused
