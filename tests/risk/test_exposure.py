"""What the risk desk remembers, and how it judges one order after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from configs.risk import RiskSettings
from configs.vocabulary import Side
from desk.books.journal import RiskMarks
from desk.events import Order
from desk.instruments import Instrument
from desk.risk.exposure import RiskDesk, marked

MORNING = datetime(2024, 1, 1, 6, tzinfo=UTC)
LIMITS = RiskSettings(max_position_weight=0.5, max_gross_weight=0.8, max_drawdown=0.2, max_daily_loss=0.1)
GRID = {symbol: Instrument(symbol, symbol[:1], "USDT", Decimal("0.01"), Decimal(1), Decimal(5)) for symbol in ("A/USDT", "B/USDT")}
CALM = RiskMarks(1000.0, "2024-01-01", 1000.0, False, False)


def marks_of(*equities: tuple[int, float]) -> RiskMarks:
    """Marks after equity was seen at these hours."""
    marks = None
    for hour, equity in equities:
        marks = marked(marks, equity, MORNING + timedelta(hours=hour), LIMITS)
    assert marks is not None
    return marks


def order(symbol: str, lots: int) -> tuple[Order, int]:
    side = Side.BUY if lots > 0 else Side.SELL
    return Order(f"tw-{symbol}{lots}", symbol, side, Decimal(abs(lots)), MORNING, Decimal(10)), lots


def test_the_peak_and_the_day_are_remembered() -> None:
    assert marks_of((0, 1000.0), (1, 1100.0), (2, 1050.0)) == RiskMarks(1100.0, "2024-01-01", 1000.0, False, False)


def test_a_day_begins_with_its_first_mark() -> None:
    assert marks_of((0, 1000.0), (18, 950.0), (19, 940.0)) == RiskMarks(1000.0, "2024-01-02", 950.0, False, False)


def test_a_daily_loss_holds_until_midnight_even_when_it_is_won_back() -> None:
    lost, recovered, next_day = marks_of((0, 1000.0), (1, 900.0)), marks_of((0, 1000.0), (1, 900.0), (2, 990.0)), marks_of((0, 1000.0), (1, 900.0), (18, 900.0))

    assert [marks.day_reducing for marks in (lost, recovered, next_day)] == [True, True, False]


def test_a_drawdown_holds_for_good() -> None:
    marks = marks_of((0, 1000.0), (1, 800.0), (200, 5000.0))

    assert (marks.reducing, marks.peak) == (True, 5000.0)


def test_each_order_is_judged_on_the_book_the_ones_before_it_leave() -> None:
    """Equity 1000, price 10: B's buy of 40 lots fits the gross limit of 80 lots only because A was sold first."""
    desk = RiskDesk(GRID, LIMITS)
    closes, lots = {"A/USDT": 10.0, "B/USDT": 10.0}, {"A/USDT": 50, "B/USDT": 0}

    together, _ = desk.judge([order("A/USDT", -20), order("B/USDT", 40)], lots, closes, 1000.0, CALM)
    alone, refused = desk.judge([order("B/USDT", 40)], lots, closes, 1000.0, CALM)

    assert [item.order.symbol for item in together] == ["A/USDT", "B/USDT"]
    assert (alone, [item.guard for item in refused]) == ((), ["gross"])


def test_a_refused_order_leaves_the_book_as_it_was() -> None:
    desk = RiskDesk(GRID, LIMITS)
    closes, lots = {"A/USDT": 10.0, "B/USDT": 10.0}, {"A/USDT": 0, "B/USDT": 0}

    approved, refused = desk.judge([order("A/USDT", 51), order("B/USDT", 50)], lots, closes, 1000.0, CALM)

    assert [item.guard for item in refused] == ["position"]
    assert [item.order.symbol for item in approved] == ["B/USDT"]
    assert "510.00" in refused[0].reason
