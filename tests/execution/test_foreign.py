"""Who else acts on the account: found by what the journal knows, whatever name an order bears."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from configs.vocabulary import Side
from desk.books.journal import Journal
from desk.books.portfolio import Portfolio
from desk.chain import Chain
from desk.events import Approved, Fill, Order
from desk.execution.ccxt_settings import constructor_config
from desk.execution.foreign import Look, Sentry
from desk.execution.order import slice_id
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
SYMBOL, OTHER = "BTC/USDT", "ETH/USDT"


@pytest.fixture(scope="module")
def client(practice_exchange: Callable[..., dict[str, Any]]) -> Any:
    greeting = practice_exchange("--seed", "7", "--symbols", f"{SYMBOL},{OTHER}", "--history-bars", "30", "--stream-bars", "5")
    client = ccxt.binance(constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret"))))
    client.load_markets()
    return client


@pytest.fixture
def grid(client: Any) -> dict[str, Instrument]:
    return {SYMBOL: ExchangeSource(client).instruments()[SYMBOL]}


@pytest.fixture
def chain(tmp_path: Path, grid: dict[str, Instrument]) -> Any:
    with Chain(tmp_path / "live.sqlite", sync=False) as chain:
        Journal(chain, "settings-1").record_opening(NOON, Portfolio(grid, Decimal(100000)))
        yield chain


@pytest.fixture
def look(client: Any, grid: dict[str, Instrument], chain: Chain, tmp_path: Path) -> Callable[[], Look]:
    """`look()` is one look; the first one sets the mark."""
    sentry = Sentry(client, grid, tmp_path / "account.json", page=2)
    sentry.look(chain)
    return lambda: sentry.look(chain)


def buy(client: Any, name: str) -> None:
    client.create_order(SYMBOL, "market", "buy", "0.001", None, {"newClientOrderId": name})


def decide(chain: Chain, *names: str) -> None:
    orders = [Approved(Order(name, SYMBOL, Side.BUY, Decimal("0.001"), NOON, Decimal(1))) for name in names]
    Journal(chain, "settings-1").record_intents(NOON, orders)


def book(chain: Chain, fills: tuple[Fill, ...]) -> None:
    Journal(chain, "settings-1").record_settled(NOON, fills)


def test_what_was_done_before_the_first_look_is_nobodys_business(client: Any, grid: dict[str, Instrument], chain: Chain, tmp_path: Path) -> None:
    buy(client, "before")

    assert () == Sentry(client, grid, tmp_path / "account.json").look(chain).strangers


def test_trades_of_a_decision_and_of_its_slices_are_ours_until_they_are_booked(client: Any, chain: Chain, look: Callable[[], Look]) -> None:
    """More of them than one answer holds."""
    decide(chain, "tw-parent")
    names = ["tw-parent", slice_id("tw-parent", 0), slice_id("tw-parent", 3, attempt=2)]
    for name in names:
        buy(client, name)

    first, again = look(), look()

    assert () == first.strangers
    assert names == [fill.order_id for fill in first.fills]
    assert first == again
    book(chain, first.fills)
    assert () == look().fills


@pytest.mark.parametrize("name", ["a-person", "tw-another-desk"])
def test_a_trade_of_somebody_else_is_seen_until_it_is_booked(client: Any, chain: Chain, look: Callable[[], Look], name: str) -> None:
    buy(client, name)

    for _ in range(2):
        found = look()
        assert [(name, Side.BUY, Decimal("0.001"))] == [(each.client_id, each.side, each.quantity) for each in found.strangers]
    book(chain, tuple(found.foreign_fills.values()))

    assert () == look().strangers


def test_open_orders_of_the_whole_account_are_looked_at(client: Any, chain: Chain, look: Callable[[], Look]) -> None:
    decide(chain, "tw-resting", "tw-given-up")
    Journal(chain, "settings-1").record_answers(NOON, [("tw-given-up", "rejected", "never arrived")])
    for symbol, name in ((SYMBOL, "tw-resting"), (SYMBOL, "tw-given-up"), (OTHER, "thief")):
        client.create_order(symbol, "limit", "buy", "0.01", "1000", {"newClientOrderId": name})

    found = look()
    for symbol in (SYMBOL, OTHER):
        client.cancel_all_orders(symbol)

    assert [(OTHER, "thief")] == [(each.symbol, each.client_id) for each in found.strangers]
    assert ["order tw-given-up of BTC/USDT is open, and was given up as never arrived"] == list(found.late)


def test_a_lost_mark_costs_a_longer_look_and_finds_the_same(
    client: Any, grid: dict[str, Instrument], chain: Chain, look: Callable[[], Look], tmp_path: Path
) -> None:
    decide(chain, "tw-booked")
    buy(client, "tw-booked")
    book(chain, look().fills)
    buy(client, "stranger")
    (tmp_path / "account.json").unlink()

    found = Sentry(client, grid, tmp_path / "account.json").look(chain)

    assert ["stranger"] == [each.client_id for each in found.strangers]
