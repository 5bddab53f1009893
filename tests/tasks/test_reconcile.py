"""The book against the account while nobody trades, and against strangers: what is found is named, halts the desk, and is overwritten by nobody."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from configs.learning import LearningSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Side, TradingState
from desk.books.journal import Journal
from desk.chain import Chain
from desk.errors import BookMismatch, ForeignActivity
from desk.events import Approved, Order
from desk.modes import Setup
from desk.strategy.policy import View
from flows.cli import main
from tasks.live import live_window
from tasks.oversight import switch_of
from tasks.reconcile import compared
from tasks.sentry import unacknowledged
from tasks.services import recorded_exchange
from tasks.standing import venue_of
from tasks.values import Market, Rules, Window
from tests.drills.traders import journal_of, ledger

BARS = 6
RULES = Rules(trading=TradingSettings(paper_bars=BARS, protective_stop=0.2), risk=RiskSettings(), learning=LearningSettings(), settings_hash="settings-1")


class Restless:
    """Trades at every close, never flat; `at_close` is called at the fourth decision."""

    warmup_bars = 2

    def __init__(self, at_close: Callable[[], None]) -> None:
        self.at_close = at_close
        self.decisions = 0

    def target(self, view: View) -> float:
        self.decisions += 1
        if self.decisions == 4:
            self.at_close()
        return 1.0 if view.previous < 0.75 else 0.5


@pytest.fixture
def by_hand(operations: OperationsSettings, market: Market) -> Any:
    """Somebody else's client of the same account."""
    reached = venue_of(operations)
    assert reached is not None
    return reached[1]


def trade(operations: OperationsSettings, market: Market, at_close: Callable[[], None] = lambda: None) -> Window:
    setup = Setup(f"live-{market.name}", RULES.settings_hash, market.grid(), Restless(at_close), RULES.trading, RULES.risk)
    return live_window(market, setup, RULES, operations, 5)


def admin(operations: OperationsSettings, path: str, body: object) -> None:
    address = f"{recorded_exchange(operations).admin}{path}"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


def controls(operations: OperationsSettings, market: Market) -> list[str]:
    with Chain.reading(journal_of(operations, market)) as chain:
        return [link.payload["reason"] for link in chain.entries(kind="control")]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_foreign_order_halts_the_desk_until_a_person_acknowledges_it(
    operations: OperationsSettings, market: Market, by_hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing strange before it: fills that are not booked yet and a deposit are explained."""
    monkeypatch.setenv("DESK__OPERATIONS__VAR", str(operations.var))
    trade(operations, market)
    admin(operations, "/deposit", {"asset": "USDT", "amount": "250"})
    assert f"live-{market.name} equals its account" == compared(operations)

    by_hand.create_order("ETH/USDT", "limit", "buy", "0.5", "100", {"newClientOrderId": "tw-another-desk"})
    assert "tw-another-desk" in compared(operations)
    assert TradingState.HALTED is switch_of(operations).read().state
    known = len(ledger(operations))
    by_hand.cancel_all_orders("ETH/USDT")
    by_hand.create_order("BTC/USDT", "limit", "buy", "0.01", "1000")
    halted = trade(operations, market)

    assert (BARS, known + 1) == (halted.bars, len(ledger(operations)))
    assert controls(operations, market)[-1].startswith("foreign activity: ETH/USDT order")
    assert 2 == len(unacknowledged(operations))

    assert 2 == main(["acknowledge", "--reason", " "])
    assert 0 == main(["acknowledge", "--reason", "my own hand"])
    trade(operations, market)

    assert TradingState.ACTIVE is switch_of(operations).read().state
    assert len(ledger(operations)) > known + 1 + BARS
    assert {} == unacknowledged(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_foreign_trade_ends_the_window_at_once_and_is_booked_when_acknowledged(
    operations: OperationsSettings, market: Market, by_hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen when the stream is joined again, seen at a new start, seen on schedule; the book is the account's again only by a person's word."""
    monkeypatch.setenv("DESK__OPERATIONS__VAR", str(operations.var))

    def stranger() -> None:
        by_hand.create_order("ETH/USDT", "market", "buy", "0.5")
        admin(operations, "/streams/close", {})

    with pytest.raises(ForeignActivity, match=r"ETH/USDT trade \d+: buy 0.5"):
        trade(operations, market, stranger)
    sent = len(ledger(operations))
    with pytest.raises(ForeignActivity):
        trade(operations, market)
    with pytest.raises(BookMismatch, match=r"ETH: ours .* the venue's"):
        compared(operations)
    assert sent == len(ledger(operations))
    assert controls(operations, market)[-1].startswith("foreign activity: ETH/USDT trade")

    assert 0 == main(["acknowledge", "--reason", "bought by hand"])
    after = trade(operations, market)

    assert BARS == after.bars
    assert f"live-{market.name} equals its account" == compared(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_order_that_was_given_up_and_exists_is_named_and_halts_the_desk(operations: OperationsSettings, market: Market, by_hand: Any) -> None:
    trade(operations, market)
    with Chain(journal_of(operations, market), sync=False) as chain:
        journal = Journal(chain, RULES.settings_hash)
        recovered = journal.recover(market.grid())
        assert recovered is not None
        journal.record_intents(recovered.at, [Approved(Order("tw-late", "BTC/USDT", Side.BUY, Decimal("0.01"), recovered.at, Decimal(1)))])
        journal.record_answers(recovered.at, [("tw-late", "rejected", "never arrived: 3 times not found")])
    by_hand.create_order("BTC/USDT", "market", "buy", "0.01", None, {"newClientOrderId": "tw-late"})

    for _ in range(2):
        with pytest.raises(BookMismatch, match=r"order tw-late of BTC/USDT executed 0\.01"):
            compared(operations)

    assert TradingState.HALTED is switch_of(operations).read().state
    assert {} == unacknowledged(operations)
