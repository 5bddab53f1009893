"""What an order cost apart from its simulation is taken apart into parts that add up."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.books.journal import Recovered, RiskMarks, Step, Story
from desk.books.portfolio import Portfolio
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.instruments import Instrument
from desk.review.discrepancy import Discrepancy, discrepancies

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRID = {"AAA/USDT": Instrument("AAA/USDT", "AAA", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))}
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=2.0, impact_bps=10.0, participation_cap=1.0)
# Decided at noon on a close of 100; the next bar opens at 101, closes at 103 and trades 400.
EVENTS = (
    BarsClosed(NOON, (Bar("AAA/USDT", Timeframe.H1, NOON - HOUR, 99.0, 100.5, 98.0, 100.0, 400.0),)),
    BarsClosed(NOON + HOUR, (Bar("AAA/USDT", Timeframe.H1, NOON, 101.0, 104.0, 100.0, 103.0, 400.0),)),
)


def fill(trade: str, quantity: str, price: str, **more: Any) -> Fill:
    amounts = Decimal(quantity), Decimal(price)
    return replace(Fill("tw-1", trade, "AAA/USDT", Side.BUY, *amounts, amounts[0] * amounts[1] * Decimal("0.001"), "USDT", NOON), **more)


def told(*fills: Fill, side: Side = Side.BUY) -> Story:
    """A journal with one order decided at noon, and these fills of it."""
    order = Order("tw-1", "AAA/USDT", side, Decimal(4), NOON, Decimal(100))
    marks = RiskMarks(1.0, "2024-01-01", 1.0, False, False)
    nothing: dict[str, Any] = {"bars_digest": "", "refused": (), "decision_hash": "", "equity": 1.0, "marks": marks, "exposures": {}, "closes": {}, "model": ""}
    steps = (Step(closed_at=NOON, fills=(), targets=(), approved=(Approved(order),), **nothing),)
    steps += (Step(closed_at=NOON + HOUR, fills=tuple(replace(each, side=side) for each in fills), targets=(), approved=(), **nothing),)
    return Story(Recovered(NOON - HOUR, Portfolio(GRID, Decimal(1000)), None, (), 0), steps, {}, {})


def apart(live: Story, paper: Story) -> Discrepancy:
    (found,) = discrepancies(live, paper, EVENTS, GRID, COSTS)
    return found


# Four of 400: participation .01, so spread 2 bps and impact 1 bp of an open of 101: 101.0303, in ticks 101.04.
PAPER = told(fill("p-1", "4", "101.04"))


def test_the_parts_are_what_their_definitions_say() -> None:
    """Live meets 100, buys half at 100.2 and half at 100.6: by hand, in quote, on a notional of 404."""
    live = told(fill("l-1", "2", "100.2"), fill("l-2", "2", "100.6"))

    found = apart(live, PAPER)

    in_quote = {name: getattr(found, name) * 404 / 1e4 for name in ("latency", "spread", "impact", "missed", "fee", "residual")}
    assert in_quote["latency"] == pytest.approx(4 * (100 - 101))
    assert in_quote["spread"] == pytest.approx(4 * 0.2 - 4 * 101 * 2e-4)
    assert in_quote["impact"] == pytest.approx(4 * 0.2 - 4 * 101 * 1e-4)
    assert in_quote["missed"] == 0
    assert in_quote["fee"] == pytest.approx(4 * 100.4e-3 - 4 * 101.04e-3)
    assert in_quote["residual"] == pytest.approx(4 * (101 * 1.0003 - 101.04), abs=1e-9)
    assert found.total * 404 / 1e4 == pytest.approx(4 * (100.4 - 101.04) * 1.001)
    assert abs(found.residual) < 1


def test_a_sale_counts_the_other_way_round() -> None:
    """The same prices: what was dear for a buyer is a gain for a seller."""
    live = told(fill("l-1", "4", "100.2"), side=Side.SELL)
    paper = told(fill("p-1", "4", "100.96"), side=Side.SELL)

    found = apart(live, paper)

    assert found.total * 404 / 1e4 == pytest.approx(4 * (100.96 - 100.2) + 4 * (100.2e-3 - 100.96e-3))
    assert abs(found.residual) < 1


def test_what_only_the_simulation_bought_is_missed() -> None:
    """Nothing was bought live while the price rose from 101.04 to 103."""
    found = apart(told(), PAPER)

    assert found.missed * 404 / 1e4 == pytest.approx(4 * (103 - 101.04))
    assert found.latency == found.spread == found.impact == 0
    assert found.residual == pytest.approx(0, abs=1e-9)


def test_half_an_order_is_compared_on_what_both_bought() -> None:
    found = apart(told(fill("l-1", "2", "100.2")), PAPER)

    assert found.latency * 404 / 1e4 == pytest.approx(2 * (100 - 101))
    assert found.missed * 404 / 1e4 == pytest.approx(2 * (103 - 101.04))
    assert abs(found.residual) < 1


def test_an_order_that_is_late_meets_a_later_market() -> None:
    """Executed after the next close: the last price it met is 103, not 100."""
    found = apart(told(fill("l-1", "4", "103.1", at=NOON + HOUR)), PAPER)

    assert found.latency * 404 / 1e4 == pytest.approx(4 * (103 - 101))


def test_a_fee_in_base_is_worth_what_was_paid_for_it() -> None:
    found = apart(told(fill("l-1", "4", "101.04", fee=Decimal("0.004"), fee_asset="AAA")), PAPER)

    assert found.fee == pytest.approx(0)


def test_a_fee_in_a_third_asset_is_not_known() -> None:
    found = apart(told(fill("l-1", "4", "101.04", fee=Decimal("0.001"), fee_asset="BNB")), PAPER)

    assert math.isnan(found.fee)


def test_the_same_execution_costs_nothing_apart_but_what_definitions_move() -> None:
    """A live order that pays exactly what the simulation does: the parts cancel."""
    assert apart(PAPER, PAPER).total == pytest.approx(0, abs=1e-9)
