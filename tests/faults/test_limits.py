"""Rows 63 to 68: clocks, bans, budgets, reloads, revoked keys and maintenance."""

from __future__ import annotations

import pytest

from configs.vocabulary import Timeframe
from desk.errors import DeskError, PreflightFailed, RateLimited
from desk.market.exchange_source import ExchangeSource
from tests.faults.catalogue import Row
from tests.faults.conftest import SYMBOL, Desk

pytestmark = pytest.mark.timeout(60)


@pytest.mark.row(63)
@pytest.mark.parametrize("number", [0, 1], ids=["ahead", "behind"])
def test_a_clock_that_is_off_is_found_before_the_first_order(desk: Desk, row: Row, number: int) -> None:
    desk.exchange.plan(row.faults[number])

    with pytest.raises(PreflightFailed, match="this clock"):
        desk.trade(1)

    assert [] == desk.accepted()
    desk.exchange.clear()
    desk.survive(2)
    desk.agrees()


@pytest.mark.row(64)
def test_a_ban_is_told_as_one_and_no_order_is_repeated_into_it(desk: Desk, row: Row) -> None:
    desk.midway = row.faults

    with pytest.raises(DeskError):
        desk.trade(3)

    sent = len(desk.accepted())
    with pytest.raises(RateLimited, match="slow down"):
        ExchangeSource(desk.exchange.fresh_client()).closed_until(Timeframe.H1)
    assert sent == len(desk.accepted())
    desk.exchange.clear()
    desk.survive(2)
    desk.agrees()


@pytest.mark.row(65)
def test_a_budget_that_somebody_else_used_up_stops_us_before_the_ban(desk: Desk, row: Row) -> None:
    """Told to slow down, the desk ends; it does not go on asking until it is banned."""
    desk.exchange.plan(*row.faults)

    with pytest.raises(RateLimited, match="slow down"):
        desk.trade(1)

    assert [] == desk.accepted()
    desk.exchange.clear()
    desk.exchange.admin("/limits", {"weight": 1_000_000})  # the other one went home
    desk.survive(2)
    desk.agrees()


@pytest.mark.row(66)
def test_markets_that_cannot_be_loaded_are_asked_for_once_a_start(desk: Desk, row: Row) -> None:
    """Three failures are three starts, not a storm."""
    desk.cold = True
    desk.exchange.plan(*row.faults)

    lives = desk.survive(2, lives=5)

    assert (4, 3) == (lives, desk.exchange.struck())
    desk.agrees()


@pytest.mark.row(67)
def test_an_order_sent_with_a_revoked_key_is_refused_and_recorded(desk: Desk, row: Row) -> None:
    """-2015 with a body proves that nothing was accepted: no doubt, no second order."""
    desk.exchange.plan(*row.faults)

    desk.survive(4)

    assert 1 == desk.exchange.struck()
    assert any("-2015" in reason for reason in desk.refusals())
    desk.agrees()


@pytest.mark.row(68)
def test_maintenance_in_a_body_is_no_answer(desk: Desk, row: Row) -> None:
    """200 and an error inside: neither an order nor a refusal."""
    desk.midway = row.faults

    desk.survive(4, lives=8)

    assert desk.exchange.struck() >= 1
    desk.agrees()
    assert SYMBOL in desk.exchange.instruments
