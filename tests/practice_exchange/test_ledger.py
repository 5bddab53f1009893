"""Double entry: whatever is traded, nothing appears and nothing vanishes. Checked on the exchange's core, without a wire."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.journal import Journal
from desk.practice_exchange.ledger import Account, Ledger
from desk.practice_exchange.orders import Kind, Life, Ticket
from desk.practice_exchange.refusals import InsufficientBalance, Misuse, Refusal
from desk.practice_exchange.synthetic import SyntheticMarket

MARKET = SyntheticMarket(3, ("BTC/USDT", "XRP/USDT"), Timeframe.H1, 1_672_531_200_000, 50, 60)
TAPE = MARKET.tape()
CASH = Decimal(50_000)
ZERO = Decimal(0)

actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("place"),
            st.sampled_from(sorted(TAPE.candles)),
            st.sampled_from(list(Side)),
            st.sampled_from([(Kind.MARKET, Life.UNTIL_CANCELLED), *((Kind.LIMIT, life) for life in Life), (Kind.POST_ONLY, Life.UNTIL_CANCELLED)]),
            st.integers(-200, 200),
            st.integers(10, 60_000),
        ),
        st.tuples(st.just("step")),
        st.tuples(st.just("cancel")),
    ),
    max_size=40,
)


def opened(folder: Path | None = None) -> Exchange:
    return Exchange(TAPE, CostSettings(), Journal(folder), speed=0.0, deposits={"USDT": CASH})


def ticket(exchange: Exchange, symbol: str, side: Side, terms: tuple[Kind, Life], offset_bps: int, worth: int) -> Ticket:
    """An order worth so much, at a distance from the market."""
    quote = exchange.quote(symbol)
    assert quote is not None
    kind, life = terms
    price = ZERO if kind is Kind.MARKET else quote.listing.price(quote.open * (1 + offset_bps * 1e-4), side.sign)
    quantity = quote.listing.lots(worth / quote.open) * quote.listing.lot
    return Ticket(symbol, side, kind, life, quantity, ZERO, price, f"id-{len(exchange.book.orders())}")


def act(exchange: Exchange, action: tuple[object, ...]) -> None:
    if action[0] == "step":
        exchange.step()
    elif action[0] == "cancel":
        found = exchange.book.open_orders()
        exchange.cancel(found[0] if found else None)
    else:
        exchange.place(ticket(exchange, *action[1:]))  # type: ignore[arg-type]


@settings(max_examples=60)
@given(actions)
def test_every_asset_adds_up_to_what_was_deposited(script: list[tuple[object, ...]]) -> None:
    exchange = opened()

    for action in script:
        with suppress(Refusal):
            act(exchange, action)

        totals = {asset: account.total for asset, account in exchange.ledger.accounts.items()}
        assert {asset: CASH if asset == "USDT" else ZERO for asset in totals} == totals
        assert all(account.free >= 0 and account.locked >= 0 for account in exchange.ledger.accounts.values())


@settings(max_examples=60)
@given(actions)
def test_what_is_locked_is_what_open_orders_reserve(script: list[tuple[object, ...]]) -> None:
    exchange = opened()

    for action in script:
        with suppress(Refusal):
            act(exchange, action)

    reserved: dict[str, Decimal] = {}
    for order in exchange.book.orders():
        base, quote = order.symbol.split("/")
        asset = quote if order.side is Side.BUY else base
        reserved[asset] = reserved.get(asset, ZERO) + order.reserved
        assert order.open or order.reserved == 0
        assert sum((execution.quantity for execution in exchange.book.executions_of(order)), ZERO) == order.filled <= order.quantity
    assert {asset: amount for asset, amount in reserved.items() if amount} == {
        asset: account.locked for asset, account in exchange.ledger.accounts.items() if account.locked
    }


@settings(max_examples=20)
@given(actions)
def test_a_reopened_exchange_remembers_everything(tmp_path_factory: pytest.TempPathFactory, script: list[tuple[object, ...]]) -> None:
    folder = tmp_path_factory.mktemp("state")
    journal = Journal(folder)
    exchange = Exchange(TAPE, CostSettings(), journal, speed=0.0, deposits={"USDT": CASH})
    for action in script:
        with suppress(Refusal):
            act(exchange, action)
    journal.close()

    again = opened(folder)

    assert exchange.book.orders() == again.book.orders()
    assert exchange.book.executions == again.book.executions
    assert exchange.ledger.accounts == again.ledger.accounts
    assert exchange.now_ms() == again.now_ms()
    assert [exchange.quote(symbol) for symbol in TAPE.candles] == [again.quote(symbol) for symbol in TAPE.candles]


def test_a_torn_last_line_never_happened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    exchange = Exchange(TAPE, CostSettings(), journal, speed=0.0, deposits={"USDT": CASH})
    exchange.step()
    journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"now": 1, "orders": [')

    assert exchange.now_ms() == opened(tmp_path).now_ms()


def test_a_damaged_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{nonsense\n{}\n")

    with pytest.raises(Misuse, match="remove the file"):
        opened(tmp_path)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    first = opened(tmp_path)

    with pytest.raises(Misuse, match="in use"):
        opened(tmp_path)
    assert first.now_ms() == TAPE.history_until_ms


def test_the_state_of_another_market_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    Exchange(TAPE, CostSettings(), journal, speed=0.0, deposits={})
    journal.close()
    other = SyntheticMarket(4, ("BTC/USDT",), Timeframe.H1, 1_672_531_200_000, 50, 60).tape()

    with pytest.raises(Misuse, match="another market"):
        Exchange(other, CostSettings(), Journal(tmp_path), speed=0.0, deposits={})


def test_a_lock_beyond_what_is_free_changes_nothing() -> None:
    ledger = Ledger({"USDT": Account(free=Decimal(10))})

    with pytest.raises(InsufficientBalance):
        ledger.lock("USDT", Decimal("10.00000001"))

    assert Account(free=Decimal(10)) == ledger.of("USDT")
