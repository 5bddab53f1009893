"""Margins, liquidation and funding against their closed forms."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.funding import INTERVAL_MS, Funding
from desk.practice_exchange.margin import BRACKETS, liquidation_price, maintenance
from desk.practice_exchange.perpetual_book import ContractOrderChanged, MarginCalled
from desk.practice_exchange.perpetual_refusals import BeyondBracket, InsufficientMargin, LeverageHeld
from tests.practice_exchange.perpetual_stage import START_MS, SYMBOL, Stage, tape_of

FLAT = (100.0, 100.0, 100.0, 100.0)


def test_maintenance_is_continuous_where_brackets_meet() -> None:
    for before, after in pairwise(BRACKETS):
        at_cap = before.cap * before.rate - before.deduction

        assert at_cap == after.floor * after.rate - after.deduction


def test_the_first_brackets_deduct_what_binance_publishes() -> None:
    assert [Decimal(each) for each in (0, 50, 1300, 16300, 266300)] == [bracket.deduction for bracket in BRACKETS[:5]]


@given(
    quantity=st.decimals("-50", "50", places=3).filter(bool),
    entry=st.decimals("10", "90000", places=2),
    leverage=st.decimals("1.1", "60", places=2),
)
def test_at_the_liquidation_price_margin_balance_equals_maintenance(quantity: Decimal, entry: Decimal, leverage: Decimal) -> None:
    """Inserted back into the definition, not into the formula it was solved by."""
    cost, wallet = quantity * entry, abs(quantity) * entry / leverage

    price = liquidation_price(quantity, cost, wallet)

    if price is not None:
        balance = wallet + quantity * price - cost
        assert balance == pytest.approx(maintenance(abs(quantity) * price), abs=Decimal("1e-12") * abs(cost) + Decimal("1e-12"))


def test_the_closed_form_of_one_long_in_the_first_bracket() -> None:
    """Binance: (wallet + deduction - quantity * entry) / (quantity * (rate - 1))."""
    assert (Decimal(100) - 1000) / (10 * (Decimal("0.004") - 1)) == liquidation_price(Decimal(10), Decimal(1000), Decimal(100))


@pytest.mark.parametrize(("close", "held"), [(90.37, "100"), (90.35, "0")])
def test_a_long_is_liquidated_by_the_first_mark_price_beyond_its_liquidation_price(close: float, held: str) -> None:
    """100 at 100 with a wallet of 1000 is liquidated at (1000 - 10000) / (100 * (0.004 - 1)) = 90.3614...; extremes do not count."""
    stage = Stage(tape_of({SYMBOL: [FLAT, (100.0, 100.0, 80.0, close), FLAT]}))
    stage.order(Side.BUY, "100")

    price = stage.market.account.liquidation_price(SYMBOL, stage.market.settled_ms)
    stage.close()

    assert price == Decimal(9000) / (100 * Decimal("0.996"))
    assert Decimal(held) == stage.quantity


def test_a_liquidation_pays_the_clearance_fee_and_cancels_what_rests() -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT, (100.0, 100.0, 90.2, 90.2), FLAT]}))
    stage.order(Side.BUY, "100")
    resting = stage.order(Side.SELL, "1", "120")

    stage.close()
    purse = stage.book.ledger.purse("USDT")

    assert not resting.open
    assert Decimal(1000) - 980 - purse.insurance == purse.wallet
    assert min(Decimal("112.75"), Decimal(20)) == purse.insurance
    assert "CALCULATED" in [each.what for each in stage.told if isinstance(each, ContractOrderChanged)]


def test_the_insurance_fund_makes_good_what_a_gap_takes_beyond_the_wallet() -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT, (100.0, 100.0, 50.0, 50.0), FLAT]}))
    stage.order(Side.BUY, "100")

    stage.close()
    purse = stage.book.ledger.purse("USDT")

    assert Decimal(0) == purse.wallet
    assert Decimal(-4000) == purse.insurance
    assert purse.deposited == purse.total


def test_a_margin_call_comes_before_the_liquidation() -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT, (100.0, 100.0, 90.4, 90.4), FLAT]}))
    stage.order(Side.BUY, "100")

    stage.close()

    assert [MarginCalled("USDT")] == [each for each in stage.told if isinstance(each, MarginCalled)]
    assert Decimal(100) == stage.quantity


def test_profit_of_another_position_keeps_a_loser_alive_in_cross_margin() -> None:
    fall, rise = (100.0, 100.0, 90.0, 90.0), (100.0, 110.0, 100.0, 110.0)
    stage = Stage(tape_of({SYMBOL: [FLAT, fall, FLAT], "ETH/USDT": [FLAT, rise, FLAT]}))
    stage.order(Side.BUY, "100")
    stage.order(Side.BUY, "50", symbol="ETH/USDT")

    stage.close()

    assert Decimal(100) == stage.quantity


def test_an_order_beyond_the_margin_is_refused_and_nothing_changes() -> None:
    """1000 at leverage 20 carries a notional of 20000."""
    stage = Stage(tape_of({SYMBOL: [FLAT, FLAT]}))

    with pytest.raises(InsufficientMargin):
        stage.order(Side.BUY, "200.001")
    stage.order(Side.BUY, "200")

    assert Decimal(200) == stage.quantity
    assert Decimal(0) == stage.market.account.standing("USDT", stage.market.settled_ms).available


def test_leverage_bounds_the_position_and_cannot_go_down_without_margin() -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT, FLAT]}), deposit="100000")
    stage.market.set_leverage(SYMBOL, 125)

    with pytest.raises(BeyondBracket):
        stage.order(Side.BUY, "500.001")
    stage.order(Side.BUY, "500")
    stage.market.set_leverage(SYMBOL, 1)

    with pytest.raises(InsufficientMargin):
        stage.order(Side.BUY, "500.001")


def test_leverage_that_the_balance_cannot_carry_is_refused() -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT, FLAT]}))
    stage.order(Side.BUY, "100")

    with pytest.raises(LeverageHeld):
        stage.market.set_leverage(SYMBOL, 5)


@pytest.mark.parametrize("side", list(Side))
def test_longs_pay_a_positive_rate_and_shorts_receive_it(side: Side) -> None:
    stage = Stage(tape_of({SYMBOL: [FLAT] * 20}), rate="0.001")
    stage.order(side, "10")

    stage.close(14)

    assert 1000 - side.sign * 10 * 100 * Decimal("0.001") == stage.wallet
    assert [START_MS + INTERVAL_MS] == [income.at_ms for income in stage.book.incomes if income.kind == "FUNDING_FEE"]


def test_drawn_rates_are_the_same_in_every_process_and_stay_near_the_usual_one() -> None:
    instants = [START_MS + number * INTERVAL_MS for number in range(200)]

    rates = [Funding("market").rate(SYMBOL, instant) for instant in instants]

    assert Decimal("-0.00011084") == Funding("market").rate(SYMBOL, 0)
    assert all(Decimal("-0.0002") <= rate <= Decimal("0.0004") for rate in rates)
    assert len(set(rates)) > 150


def test_commission_is_charged_on_notional_in_the_margin_asset() -> None:
    costs = CostSettings(fee_rate=0.001, half_spread_bps=0.0, impact_bps=0.0, participation_cap=1.0)
    stage = Stage(tape_of({SYMBOL: [FLAT, FLAT]}), costs=costs)

    stage.order(Side.BUY, "3")

    assert Decimal("999.7") == stage.wallet
