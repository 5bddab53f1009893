"""Money that comes and goes is no gain and no loss, and hides none."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from desk.books.journal import Journal, RiskMarks, Step
from desk.books.portfolio import Portfolio
from desk.chain import MEMORY, Chain
from desk.errors import NotFinite
from desk.events import Flow
from desk.instruments import Instrument
from desk.measures import time_weighted
from desk.risk.exposure import marked
from tests.books.conftest import BEGIN, SYMBOL

LIMITS = RiskSettings(max_drawdown=0.2, max_daily_loss=0.1)


def flow(amount: str, asset: str = "USDT", name: str = "1") -> Flow:
    return Flow(f"deposit-{name}", "deposit", asset, Decimal(amount), BEGIN)


def test_money_is_booked_once_to_the_cent(instruments: dict[str, Instrument]) -> None:
    portfolio = Portfolio(instruments, Decimal("0.10"), {SYMBOL: Decimal("0.0014")})

    moved = [portfolio.move(each) for each in (flow("0.20"), flow("0.20"), flow("-0.0005", "BTC", "2"))]

    assert [True, False, True] == moved
    assert {"USDT": Decimal("0.30"), "BTC": Decimal("0.0009")} == portfolio.balances()
    assert 0 == portfolio.lots[SYMBOL]


def test_only_our_currencies_since_the_opening_are_news(instruments: dict[str, Instrument]) -> None:
    portfolio = Portfolio(instruments, Decimal(0))
    portfolio.know(flows=["deposit-1"])
    early = Flow("deposit-0", "deposit", "USDT", Decimal(1), BEGIN - timedelta(seconds=1))

    assert (flow("5", name="3"),) == portfolio.news([early, flow("3"), flow("4", "DOGE", "2"), flow("5", name="3")], BEGIN)


def test_a_coin_is_worth_its_close_and_nothing_is_guessed(instruments: dict[str, Instrument]) -> None:
    portfolio = Portfolio(instruments, Decimal(0))

    assert -25_000.0 == portfolio.worth(flow("-0.5", "BTC"), {SYMBOL: 50_000.0})
    with pytest.raises(NotFinite, match=r"expected a close of BTC/USDT to value -0\.5 BTC"):
        portfolio.worth(flow("-0.5", "BTC"), {})


@pytest.mark.parametrize("moved", [-900.0, -500.0, 1e-3, 5e6])
@pytest.mark.parametrize(("equity", "falls"), [(950.0, (False, False)), (890.0, (False, True)), (790.0, (True, True))])
def test_flows_trip_no_limit_and_hide_no_loss(moved: float, equity: float, falls: tuple[bool, bool]) -> None:
    """Whatever moved between two marks, the guards see the fraction that was lost: the same as without it."""
    before = RiskMarks(1000.0, BEGIN.date().isoformat(), 1000.0, False, False)

    funded = before.funded(1000.0, moved)
    after = marked(funded, (1000.0 + moved) * equity / 1000.0, BEGIN + timedelta(hours=1), LIMITS)

    assert falls == (after.reducing, after.day_reducing)


def test_a_large_deposit_does_not_hide_what_was_lost_before() -> None:
    """15 % below the peak: another 6 % are too much, however much money came meanwhile."""
    before = RiskMarks(1000.0, "2023-12-31", 850.0, False, False)

    funded = before.funded(850.0, 1e6)

    assert not marked(funded, 0.96 * (1e6 + 850), BEGIN, LIMITS).reducing
    assert marked(funded, 0.94 * (1e6 + 850), BEGIN, LIMITS).reducing


@pytest.mark.parametrize(("equity", "value", "anchor"), [(0.0, 500.0, 500.0), (-3.0, 500.0, 497.0), (500.0, -500.0, 0.0)])
def test_an_account_that_had_or_keeps_nothing_begins_anew(equity: float, value: float, anchor: float) -> None:
    funded = RiskMarks(1000.0, "2024-01-01", 900.0, True, False).funded(equity, value)

    assert (anchor, anchor, True) == (funded.peak, funded.day_first, funded.reducing)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.5, 3.0)), min_size=1, max_size=40))
def test_what_one_unit_became_does_not_depend_on_what_came_and_went(instruments: dict[str, Instrument], days: list[tuple[float, float]]) -> None:
    """Closed form: the product of one plus each return, whatever share of the account moved in between; the same from the journal's fold and from marks."""
    journal = Journal(Chain(MEMORY, sync=False), "settings-1")
    journal.record_opening(BEGIN, Portfolio(instruments, Decimal(1000)))
    equity, marks, moved = 1000.0, [1000.0], list[float]()
    journal.record_step(step(0, equity))
    for number, (earned, share) in enumerate(days, 1):
        amount = Decimal(repr(round(equity * share, 2)))
        journal.record_flows(BEGIN, [flow(str(amount), name=str(number))])
        equity = (equity + float(amount)) * (1 + earned)
        journal.record_step(step(number, equity))
        marks.append(equity)
        moved.append(float(amount))

    recovered = journal.recover(instruments)

    assert recovered is not None
    wanted = float(np.prod([1 + earned for earned, _ in days]))
    assert wanted == pytest.approx(recovered.growth, rel=1e-9)
    assert [earned for earned, _ in days] == pytest.approx(list(time_weighted(np.array(marks), np.array(moved))), abs=1e-9)


def step(number: int, equity: float) -> Step:
    marks = RiskMarks(equity, "2024-01-01", equity, False, False)
    return Step(BEGIN + timedelta(hours=number + 1), "d", (), (), (), (), "h", equity, marks, {SYMBOL: 0.0}, {SYMBOL: 100.0}, "m")


def test_without_flows_time_weighted_returns_are_returns() -> None:
    equity = np.array([100.0, 110.0, 99.0, 0.0, 5.0])

    assert [0.1, -0.1, -1.0] == pytest.approx(list(time_weighted(equity, np.zeros(4)))[:3])
    assert np.isnan(time_weighted(equity, np.zeros(4))[3])
    assert [0.1] == pytest.approx(list(time_weighted(np.array([0.0, 110.0]), np.array([100.0]))))


def test_flows_are_read_back_as_they_were_written(instruments: dict[str, Instrument], writer_of: Any) -> None:
    chain = Chain(MEMORY, sync=False)
    journal = Journal(chain, "settings-1")
    journal.record_opening(BEGIN, Portfolio(instruments, Decimal(1000)), [flow("1", name="0")])
    written = Flow("withdrawal-7", "withdrawal", "BTC", Decimal("-0.50000001"), BEGIN + timedelta(seconds=1.5))

    journal.record_flows(BEGIN, [written])

    story = journal.story(instruments)
    assert story is not None
    assert (written,) == story.between[0].flows
    assert () == story.opening.portfolio.news([flow("1", name="0")], BEGIN)
