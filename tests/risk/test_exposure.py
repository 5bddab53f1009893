"""What the risk desk remembers, and how it judges one order after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from configs.risk import RiskSettings
from configs.vocabulary import Side, Timeframe, TradingState
from desk.books.journal import RiskMarks
from desk.events import ACTIVE, Bar, BarsClosed, Control, Order
from desk.instruments import Instrument
from desk.risk.exposure import Book, RiskDesk, marked

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

    together, _ = desk.judge([order("A/USDT", -20), order("B/USDT", 40)], Book(lots, closes, 1000.0, CALM))
    alone, refused = desk.judge([order("B/USDT", 40)], Book(lots, closes, 1000.0, CALM))

    assert [item.order.symbol for item in together] == ["A/USDT", "B/USDT"]
    assert (alone, [item.guard for item in refused]) == ((), ["gross"])


def test_a_refused_order_leaves_the_book_as_it_was() -> None:
    desk = RiskDesk(GRID, LIMITS)
    closes, lots = {"A/USDT": 10.0, "B/USDT": 10.0}, {"A/USDT": 0, "B/USDT": 0}

    approved, refused = desk.judge([order("A/USDT", 51), order("B/USDT", 50)], Book(lots, closes, 1000.0, CALM))

    assert [item.guard for item in refused] == ["position"]
    assert [item.order.symbol for item in approved] == ["B/USDT"]
    assert "510.00" in refused[0].reason


def judged(
    settings: RiskSettings, *wishes: tuple[str, int], told: Control = ACTIVE, marks: RiskMarks = CALM, closes: tuple[float, ...] = (10.0, 10.0)
) -> list[str]:
    """What the desk says of each order on a flat book of 1000, after A's and B's closes went through `closes`; the guard's name, or nothing."""
    desk = RiskDesk(GRID, settings)
    for number, close in enumerate(closes):
        at = MORNING + timedelta(hours=number)
        desk.observe(BarsClosed(at, tuple(Bar(symbol, Timeframe.H1, at, close, close, close, close, 1.0) for symbol in GRID)))
    orders = [order(*wish) for wish in wishes]
    book = Book(dict.fromkeys(GRID, 0) | {"B/USDT": 20}, dict.fromkeys(GRID, closes[-1]), 1000.0, marks, told)
    approved, refused = desk.judge(orders, book)
    guards = {each.order.order_id: each.guard for each in refused} | {each.order.order_id: "" for each in approved}
    return [guards[each.order_id] for each, _ in orders]


def test_a_halted_desk_approves_nothing_and_a_reducing_one_only_what_reduces() -> None:
    halted, reducing = (replace(CALM, latched=state) for state in (TradingState.HALTED, TradingState.REDUCING))

    assert ["halted", "halted"] == judged(LIMITS, ("B/USDT", -10), ("A/USDT", 1), marks=halted)
    assert ["", "reduce_only"] == judged(LIMITS, ("B/USDT", -10), ("A/USDT", 1), marks=reducing)


def test_nothing_is_opened_on_old_data() -> None:
    assert ["", "stale"] == judged(LIMITS, ("B/USDT", -10), ("A/USDT", 1), told=Control(stale=True))


@pytest.mark.parametrize(("closes", "guard"), [((10.0, 10.4), ""), ((10.0, 10.6), "collar"), ((10.6, 10.0), "collar")])
def test_nothing_is_opened_after_a_price_that_jumped_too_far(closes: tuple[float, ...], guard: str) -> None:
    collared = LIMITS.model_copy(update={"price_collar": 0.05, "max_gross_weight": 5.0})

    assert ["", guard] == judged(collared, ("B/USDT", -10), ("A/USDT", 1), closes=closes)


def test_a_price_that_jumped_just_as_far_as_it_may_is_no_reason() -> None:
    """From 10 to 12.5 is a quarter, to a float too."""
    collared = LIMITS.model_copy(update={"price_collar": 0.25, "max_gross_weight": 5.0})

    assert ["", ""] == judged(collared, ("B/USDT", -10), ("A/USDT", 1), closes=(10.0, 12.5))


def test_a_book_that_could_lose_too_much_in_a_bar_grows_no_further() -> None:
    """A and B move as one by 5 % a bar: of 400 the expected shortfall at .975 is 400 * .05 * 2.3378 = 46.8, of 200 half of it."""
    swings = tuple(10.0 * (1.05 if number % 2 else 1.0) for number in range(201))
    careful = LIMITS.model_copy(update={"max_expected_shortfall": 0.04, "max_gross_weight": 5.0})

    assert [""] == judged(careful, ("A/USDT", 10), closes=swings)
    assert ["shortfall"] == judged(careful, ("A/USDT", 30), closes=swings)
    assert ["", ""] == judged(careful, ("B/USDT", -20), ("A/USDT", 20), closes=swings)


def test_a_risk_that_is_not_known_yet_is_too_much() -> None:
    careful = LIMITS.model_copy(update={"max_expected_shortfall": 0.9})

    assert ["", "shortfall"] == judged(careful, ("B/USDT", -10), ("A/USDT", 1))


def test_a_resume_opens_the_drawdown_latch_and_counts_the_peak_anew() -> None:
    fallen = marks_of((0, 1000.0), (1, 800.0))

    resumed = marked(fallen, 790.0, MORNING + timedelta(hours=30), LIMITS, Control(resumed=1))

    assert (fallen.reducing, fallen.latched) == (True, TradingState.REDUCING)
    assert (resumed.reducing, resumed.latched, resumed.peak) == (False, TradingState.ACTIVE, 790.0)
