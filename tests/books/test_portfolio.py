"""The book is a fold over fills: exact, once per trade."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.vocabulary import Side
from desk.books.journal import Recovered
from desk.books.portfolio import Portfolio, fee_in_quote
from desk.books.reconcile import reconcile
from desk.books.records import fill_of, row_of_fill
from desk.errors import BookMismatch
from desk.events import Fill
from desk.instruments import Instrument

BTC = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))
ETH = Instrument("ETH/USDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.01"), Decimal(5))
AT = datetime(2024, 1, 1, tzinfo=UTC)


def book(cash: str = "1000") -> Portfolio:
    return Portfolio({"BTC/USDT": BTC, "ETH/USDT": ETH}, Decimal(cash))


def fill(side: Side, quantity: str, price: str, fee: tuple[str, str] = ("0", "USDT"), trade: str = "1") -> Fill:
    return Fill("tw-1", trade, "BTC/USDT", side, Decimal(quantity), Decimal(price), Decimal(fee[0]), fee[1], AT)


def test_a_buy_with_a_fee_in_quote_costs_cash() -> None:
    portfolio = book()

    portfolio.apply(fill(Side.BUY, "0.005", "60000", ("0.3", "USDT")))

    assert portfolio.cash == Decimal("699.7")
    assert portfolio.positions["BTC/USDT"] == Decimal("0.005")
    assert portfolio.fees == {"USDT": Decimal("0.3")}


def test_a_buy_with_a_fee_in_base_delivers_less() -> None:
    """Binance takes the fee of a spot buy out of what was bought: four whole lots remain of five."""
    portfolio = book()

    portfolio.apply(fill(Side.BUY, "0.005", "60000", ("0.000005", "BTC")))

    assert portfolio.cash == Decimal(700)
    assert portfolio.positions["BTC/USDT"] == Decimal("0.004995")
    assert portfolio.lots["BTC/USDT"] == 4


def test_a_fee_in_a_token_that_is_traded_here_comes_out_of_its_position() -> None:
    """Or the book would hold what the account does not."""
    portfolio = Portfolio({"BTC/USDT": BTC, "ETH/USDT": ETH}, Decimal(1000), {"ETH/USDT": Decimal("1.004")})

    portfolio.apply(fill(Side.BUY, "0.005", "60000", ("0.005", "ETH")))

    assert (portfolio.cash, portfolio.positions) == (Decimal(700), {"BTC/USDT": Decimal("0.005"), "ETH/USDT": Decimal("0.999")})
    assert portfolio.lots["ETH/USDT"] == 99


@pytest.mark.parametrize(
    ("asset", "fee", "told", "worth"),
    [("USDT", "0.3", None, "0.3"), ("BTC", "0.000005", None, "0.3"), ("BNB", "0.001", "0.6", "0.6"), ("BNB", "0.001", None, None)],
)
def test_a_fee_is_worth_its_quote(asset: str, fee: str, told: str | None, worth: str | None) -> None:
    """In base by the price of the execution, in a third asset by what the venue said it was worth then."""
    paid = Fill("tw-1", "1", "BTC/USDT", Side.BUY, Decimal("0.005"), Decimal(60000), Decimal(fee), asset, AT, None if told is None else Decimal(told))

    assert fee_in_quote(paid, BTC) == (None if worth is None else Decimal(worth))
    assert fill_of(row_of_fill(paid)) == paid


def test_a_fee_in_a_third_asset_is_only_counted() -> None:
    portfolio = book()

    portfolio.apply(fill(Side.BUY, "0.005", "60000", ("0.001", "BNB")))

    assert (portfolio.cash, portfolio.positions["BTC/USDT"]) == (Decimal(700), Decimal("0.005"))
    assert portfolio.fees == {"BNB": Decimal("0.001")}


def test_the_same_trade_counts_once() -> None:
    portfolio = book()

    applied = [portfolio.apply(fill(Side.BUY, "0.005", "60000")) for _ in range(3)]

    assert applied == [True, False, False]
    assert portfolio.cash == Decimal(700)


def test_equity_is_cash_and_whole_lots_at_their_close() -> None:
    portfolio = book()
    portfolio.apply(fill(Side.BUY, "0.0055", "60000"))

    assert portfolio.equity({"BTC/USDT": 70000.0}) == pytest.approx(670 + 0.005 * 70000, rel=1e-15)


def test_balances_open_the_same_book_again() -> None:
    portfolio = book()
    portfolio.apply(fill(Side.BUY, "0.005", "60000", ("0.000005", "BTC")))

    again = Portfolio.of_balances({"BTC/USDT": BTC, "ETH/USDT": ETH}, "USDT", portfolio.balances())

    assert (again.cash, again.positions) == (portfolio.cash, portfolio.positions)


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 10**6), st.integers(1, 10**8)), max_size=30))
def test_without_fees_money_is_only_moved(trades: list[tuple[Side, int, int]]) -> None:
    """Cash spent is exactly the sum of signed notionals, whatever the order of trades."""
    portfolio = book()
    fills = [Fill("tw-1", str(n), "BTC/USDT", side, lots * BTC.lot, ticks * BTC.tick, Decimal(0), "USDT", AT) for n, (side, lots, ticks) in enumerate(trades)]

    for each in reversed(fills):
        portfolio.apply(each)

    assert portfolio.cash == Decimal(1000) - sum((each.side.sign * each.quantity * each.price for each in fills), Decimal(0))
    assert portfolio.lots["BTC/USDT"] == sum(side.sign * lots for side, lots, _ in trades)


def test_a_book_that_equals_the_account_is_reconciled() -> None:
    recovered = Recovered(AT, book(), None, (), 0)

    proof = reconcile(recovered, {"USDT": Decimal("1000.000000001"), "DOGE": Decimal(7)}, ())

    assert proof.recovered is recovered


def test_every_difference_is_named() -> None:
    recovered = Recovered(AT, book(), None, (), 0)

    with pytest.raises(BookMismatch) as caught:
        reconcile(recovered, {"USDT": Decimal(999), "ETH": Decimal("0.5")}, ("tw-9",))

    assert "USDT: ours 1000, the venue's 999" in str(caught.value)
    assert "ETH: ours 0, the venue's 0.5" in str(caught.value)
    assert "tw-9" in str(caught.value)
