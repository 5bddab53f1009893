"""Impact is charged on what all fills of a bar take together: however a trade is split within the bar, it costs the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from configs.vocabulary import Side, Timeframe
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.costs import trade_cost_fraction
from desk.events import Approved, Bar, BarsClosed, Order
from desk.execution.fills import impact_share
from desk.execution.simulated_venue import SimulatedVenue
from desk.instruments import Instrument

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

OPENED = datetime(2024, 1, 1, tzinfo=UTC)
LOOSE = RiskSettings(max_position_weight=100, max_gross_weight=100, max_net_weight=100, max_drawdown=1, max_daily_loss=1)
# Ticks so fine that rounding to them is lost in what is compared.
COIN = Instrument("ADA/USDT", "ADA", "USDT", Decimal("1e-12"), Decimal("0.001"), Decimal(0))
SWAP = Instrument("ADA/USDT:USDT", "ADA", "USDT", Decimal("1e-12"), Decimal("0.001"), Decimal(0))
lots = st.integers(1, 100_000)


@given(parts=st.lists(lots, min_size=1, max_size=20), volume=st.floats(2000, 1e9), half_spread=st.floats(0, 50), impact=st.floats(0, 500))
def test_the_parts_pay_what_the_whole_pays(parts: list[int], volume: float, half_spread: float, impact: float) -> None:
    paid = taken = 0.0
    for part in parts:
        paid += part * trade_cost_fraction(half_spread, impact, impact_share(part, volume, 0.001, int(taken)))
        taken += part

    assert pytest.approx(taken * trade_cost_fraction(half_spread, impact, taken * 0.001 / volume), rel=1e-9) == paid


@settings(max_examples=50)
@given(parts=st.lists(lots, min_size=2, max_size=6), side=st.sampled_from(Side), impact=st.floats(1, 500))
def test_several_orders_of_one_bar_cost_as_much_as_one(parts: list[int], side: Side, impact: float) -> None:
    """Market orders of several models, as one account sends them to the simulated venue, against the order that nets them."""
    costs = CostSettings(fee_rate=0, half_spread_bps=3, impact_bps=impact, participation_cap=1)

    def paid(sizes: list[int]) -> Decimal:
        venue = SimulatedVenue({SWAP.symbol: SWAP}, costs, {"USDT": Decimal(10_000_000), "ADA": Decimal(0)})
        orders = [Order(f"order-{number}", SWAP.symbol, side, size * SWAP.lot, OPENED, Decimal(100)) for number, size in enumerate(sizes)]
        venue.submit([Approved(order) for order in orders])
        bar = Bar(SWAP.symbol, Timeframe.H1, OPENED, 100.0, 100.0, 100.0, 100.0, 700.0)
        fills = venue.fills(BarsClosed(OPENED + timedelta(hours=1), (bar,)))
        assert sum(sizes) * SWAP.lot == sum(fill.quantity for fill in fills)
        return sum((fill.quantity * (fill.price - 100) for fill in fills), Decimal(0))

    assert float(paid(parts)) == pytest.approx(float(paid([sum(parts)])), rel=1e-9)


@settings(max_examples=50)
@given(first=st.integers(1, 50), impact=st.floats(1, 500), volume=st.floats(250, 10_000), contract=st.booleans())
def test_an_order_and_the_stop_behind_it_pay_for_one_bar_together(first: int, impact: float, volume: float, contract: bool) -> None:
    """In one bar the kernel adds `first` to the 100 it holds, at the open of 100, and is stopped out of all of it at the same price."""
    instrument = SWAP if contract else COIN
    costs = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=impact, participation_cap=1)
    prices = np.array([[200.0], [200.0], [100.0]])
    volumes = np.array([[1e9], [1e9], [volume]])
    times = np.datetime64("2024-01-01", "us") + np.arange(3) * np.timedelta64(1, "h")
    account = TradingSettings(fixed_units=200.0, initial_cash=Decimal(1_000_000), rebalance_band=0, protective_stop=0.3)
    targets = np.array([[0.5], [(100 + first) / 200], [np.nan]])

    result = simulate(
        Panel(times, (instrument.symbol,), *[prices] * 4, volumes), targets, costs, LOOSE, instruments={instrument.symbol: instrument}, trading=account
    )

    sizes, paid = result.fills["quantity"].to_numpy()[1:], np.abs(result.fills["price"].to_numpy()[1:] - 100)
    assert [first, 100 + first] == pytest.approx(sizes.tolist())
    whole = sizes.sum() * 100 * trade_cost_fraction(0, impact, sizes.sum() / volume)
    assert float(sizes @ paid) == pytest.approx(whole, rel=1e-9)
    early = 100 * 200 * trade_cost_fraction(0, impact, 100 / 1e9)
    assert result.costs["impact"] == pytest.approx(whole + early, rel=1e-9)


def test_an_order_alone_in_its_bar_pays_its_own_share() -> None:
    """To the last bit: nothing that trades once in a bar is charged otherwise than before."""
    assert 7 * 0.001 / 300.0 == impact_share(7, 300.0, 0.001)
