"""What protection asks of a step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from configs.trading import TradingSettings
from configs.vocabulary import Side
from desk.books.portfolio import Portfolio
from desk.events import Approved
from desk.execution.order import order_of
from desk.execution.protection import Protection
from desk.instruments import Instrument

BTC = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(5))
MARKET = {BTC.symbol: BTC}
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def protection() -> Protection:
    """A stop of 0.0002 at 28000 rests: worth 5.60, of a least notional of 5."""
    protection = Protection.recovered("session", MARKET, TradingSettings(protective_stop=0.3), None)
    wanted = protection.wanted(NOON, Portfolio(MARKET, Decimal(0), {BTC.symbol: Decimal("0.0002")}), {BTC.symbol: 40_000.0}, ())
    protection.settle(wanted.cancels, [order for order, _ in wanted.placed])
    return protection


def test_a_stop_stays_when_its_successor_would_be_too_small(protection: Protection) -> None:
    """A position that was there at the opening is protected from the last close: 30 % below 30000 the stop would be worth 4.20."""
    later, portfolio = NOON + timedelta(hours=1), Portfolio(MARKET, Decimal(0), {BTC.symbol: Decimal("0.0002")})

    wanted = protection.wanted(later, portfolio, {BTC.symbol: 30_000.0}, ())

    assert ((), (), ["protection"]) == (wanted.placed, wanted.cancels, [each.guard for each in wanted.unprotected])
    assert [Decimal(28_000)] == [stop.stop_price for stop in protection.settle(wanted.cancels, ())]


def test_a_stop_goes_when_a_sale_leaves_too_little_to_protect(protection: Protection) -> None:
    """It locks what the sale needs."""
    later, portfolio = NOON + timedelta(hours=1), Portfolio(MARKET, Decimal(0), {BTC.symbol: Decimal("0.0002")})
    sale = Approved(order_of("session", BTC, later, -15, 40_000.0))

    wanted = protection.wanted(later, portfolio, {BTC.symbol: 40_000.0}, (sale,))

    assert (Side.SELL, ()) == (sale.order.side, wanted.placed)
    assert [Decimal(28_000)] == [stop.stop_price for stop in wanted.cancels]
