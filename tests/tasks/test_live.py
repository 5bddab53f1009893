"""The live door: shut until a person arms it, then the same window as paper with orders on an exchange, resumed by its journal."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime

import pytest

from configs.learning import LearningSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from desk.errors import GateClosed
from desk.modes import Setup
from desk.security.arming import ArmedLease
from desk.strategy.policy import View
from tasks.live import live_window
from tasks.services.exchange import recorded_exchange
from tasks.values import Market, Rules

RULES = Rules(trading=TradingSettings(paper_bars=20), risk=RiskSettings(), learning=LearningSettings(), settings_hash="settings-1")


class Crossover:
    """Trades often."""

    warmup_bars = 8

    def target(self, view: View) -> float:
        return float(view.closes[-3:].mean() > view.closes.mean())


def setup_for(market: Market) -> Setup:
    return Setup(f"live-{market.name}", RULES.settings_hash, market.grid(), Crossover(), RULES.trading, RULES.risk)


def accepted(operations: OperationsSettings) -> list[str]:
    """Our ids of every order the exchange ever accepted."""
    with urllib.request.urlopen(f"{recorded_exchange(operations).admin}/orders", timeout=10) as answer:
        return [order["clientOrderId"] for order in json.load(answer)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_armed_window_orders_on_the_exchange_and_the_next_one_goes_on_where_it_ended(operations: OperationsSettings, market: Market) -> None:
    """The second start would stop at a book that differs from the account: it is reconciled with the orders of the first one's last bar."""
    first = live_window(market, setup_for(market), RULES, operations, 5)
    second = live_window(market, setup_for(market), RULES, operations, 5)

    assert (20, 20) == (first.bars, second.bars)
    assert (None, first.ended_at) == (first.resumed_from, second.resumed_from)
    orders = accepted(operations)
    assert len(set(orders)) == len(orders) > 4


@pytest.mark.slow
def test_the_door_is_shut_until_somebody_arms_it_and_to_all_but_one(operations: OperationsSettings, market: Market) -> None:
    with pytest.raises(GateClosed, match="armed_minutes 0"):
        live_window(market, setup_for(market), RULES, operations, 0)
    with ArmedLease(operations.var / "run" / "armed", datetime.max.replace(tzinfo=UTC)), pytest.raises(GateClosed, match="the only armed desk"):
        live_window(market, setup_for(market), RULES, operations, 5)

    assert [] == accepted(operations)
