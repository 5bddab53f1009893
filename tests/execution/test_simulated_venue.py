"""The simulated venue against sums done by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.events import Approved, Bar, BarsClosed, Order
from desk.execution.simulated_venue import SimulatedVenue
from desk.execution.venue import Outcome
from desk.instruments import Instrument

T0 = datetime(2024, 1, 1, tzinfo=UTC)
GRID = {symbol: Instrument(symbol, symbol[:1], "USDT", Decimal("0.01"), Decimal("0.1"), Decimal(5)) for symbol in ("A/USDT", "B/USDT")}
FREE = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0, participation_cap=1)


def venue(costs: CostSettings = FREE, **balances: str) -> SimulatedVenue:
    return SimulatedVenue(GRID, costs, {"USDT": Decimal("1000"), **{asset: Decimal(text) for asset, text in balances.items()}})


def order(name: str, side: Side, quantity: str, symbol: str = "A/USDT") -> Approved:
    return Approved(Order(name, symbol, side, Decimal(quantity), T0, Decimal(100)))


def event(hour: int = 0, volume: float = 1000.0, **opens: float) -> BarsClosed:
    """Bars that opened at these prices and closed far above: a fill that peeks at the close would show."""
    open_time = T0 + timedelta(hours=hour)
    bars = tuple(Bar(f"{name}/USDT", Timeframe.H1, open_time, price, price * 3, price, price * 2, volume) for name, price in sorted(opens.items()))
    return BarsClosed(open_time + timedelta(hours=1), bars)


def test_an_order_pays_the_open_plus_spread_and_impact_and_a_fee() -> None:
    """2 of a volume of 1000: 1 bp spread and 10 bps times sqrt(0.002), up to the next tick; 0.1 % fee."""
    market = venue(CostSettings(), A="0")
    market.submit([order("tw-1", Side.BUY, "2")])

    (fill,) = market.fills(event(A=100.0))

    price = Decimal(math.ceil(100 * (1 + (1 + 10 * math.sqrt(0.002)) * 1e-4) * 100)) / 100
    assert (fill.price, fill.quantity, fill.fee, fill.fee_asset) == (price, Decimal("2.0"), 2 * price * Decimal("0.001"), "USDT")
    assert (fill.trade_id, fill.at) == ("tw-1-1", T0)
    assert market.account().balances == {"USDT": 1000 - 2 * price * Decimal("1.001"), "A": Decimal("2.0")}


def test_a_fill_takes_no_more_than_its_share_of_volume_and_the_rest_is_gone() -> None:
    market = venue(CostSettings(participation_cap=0.1))
    market.submit([order("tw-1", Side.BUY, "2")])

    (fill,) = market.fills(event(volume=7.0, A=100.0))

    assert fill.quantity == Decimal("0.7")
    assert market.account().open_orders == ()
    assert market.fills(event(1, A=100.0)) == ()


def test_an_order_without_a_bar_dies() -> None:
    market = venue()
    market.submit([order("tw-1", Side.BUY, "2"), order("tw-2", Side.BUY, "2", "B/USDT")])

    first, second = market.fills(event(B=100.0)), market.fills(event(1, A=100.0, B=100.0))

    assert [fill.order_id for fill in first] == ["tw-2"]
    assert second == ()


def test_sells_pay_for_the_buys_of_the_same_open() -> None:
    market = venue(USDT="0", B="5")
    market.submit([order("tw-1", Side.BUY, "4"), order("tw-2", Side.SELL, "5", "B/USDT")])

    fills = market.fills(event(A=100.0, B=100.0))

    assert [(fill.order_id, fill.quantity) for fill in fills] == [("tw-2", Decimal("5.0")), ("tw-1", Decimal("4.0"))]
    assert market.account().balances == {"USDT": Decimal("100.00"), "A": Decimal("4.0"), "B": Decimal("0.0")}


def test_short_cash_is_shared_pro_rata_and_the_rest_goes_by_symbol() -> None:
    """Wanted 12 and 6 at 100 with 1000 in cash: 10/18 of each is 6.6 and 3.3 whole lots; the 10 left over buy one lot of the first."""
    market = venue()
    market.submit([order("tw-b", Side.BUY, "6", "B/USDT"), order("tw-a", Side.BUY, "12")])

    fills = market.fills(event(A=100.0, B=100.0))

    assert [(fill.symbol, fill.quantity) for fill in fills] == [("A/USDT", Decimal("6.7")), ("B/USDT", Decimal("3.3"))]
    assert market.account().balances["USDT"] == 0


def test_the_same_order_twice_is_one_order() -> None:
    market = venue()

    answers = [market.submit([order("tw-1", Side.BUY, "2")])[0] for _ in range(2)]
    fills = market.fills(event(A=100.0))
    again = market.submit([order("tw-1", Side.BUY, "2")])

    assert [answer.outcome for answer in (*answers, *again)] == [Outcome.CONFIRMED] * 3
    assert len(fills) == 1
    assert market.fills(event(1, A=100.0)) == ()
