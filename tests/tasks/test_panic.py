"""The operator's words against a real exchange and a real trader, killed (-9) or alive; the exchange's own ledger is the oracle."""

from __future__ import annotations

import json
import signal
from decimal import Decimal

import pytest

from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.vocabulary import TradingState
from desk.books.journal import Journal
from desk.books.portfolio import Portfolio
from desk.chain import Chain
from desk.execution.exchange_venue import market_now
from flows.cli import main
from tasks.oversight import switch_of
from tasks.panic import Panic, close_everything
from tasks.standing import positions, standing, venue_of
from tasks.values import Market
from tests.drills.traders import MARKET, approved, booked, each_once, executed, held, ledger, still_open, traders, window


def flatten(operations: OperationsSettings) -> Panic:
    return close_everything(MARKET, RiskSettings(), operations, "settings-1", "drill")


def lots(operations: OperationsSettings, market: Market) -> dict[str, int]:
    """Whole lots by symbol, by our books."""
    grid = market.grid()
    return {each.asset: int(each.quantity / grid[each.asset].lot) for each in positions(operations) if each.asset in grid}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_dead_traders_account_is_closed_and_a_second_word_does_nothing(
    operations: OperationsSettings, market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the words of the console, after kill -9 of a trader with positions and resting stops. Resumed, the same session trades on."""
    monkeypatch.setenv("DESK__OPERATIONS__VAR", str(operations.var))
    monkeypatch.setenv("DESK__MARKET__VENUE", "practice")

    def console(*words: str) -> object:
        capsys.readouterr()
        assert 0 == main([*words, "--profile", "live", "--json"])
        return json.loads(capsys.readouterr().out)

    with traders(operations, market) as start:
        trader = start(10)
        trader.send_signal(signal.SIGKILL)
        trader.communicate()
        before = console("status")
        assert isinstance(before, dict)
        assert ("dead", trader.pid) == (before["lease"]["state"], before["lease"]["holder"]["pid"])
        # Killed between an entry and its stop, it leaves one stop fewer.
        assert {order["clientOrderId"] for order in still_open(operations)} == {told.rsplit(", ")[-1] for told in before["open_orders"].values()}
        assert 2 == len(held(operations, market))

        first = console("flatten")
        after_first = ledger(operations)
        second = console("flatten")

        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert len(first["closed"]) >= 2
        assert ([], {}, "") == (second["closed"], second["left"], second["differences"])
        assert after_first == ledger(operations)
        assert each_once(operations)
        assert executed(operations) == booked(operations, market)
        assert {} == held(operations, market)
        assert [] == still_open(operations)
        assert {0} == set(lots(operations, market).values())
        for row in console("positions"):  # type: ignore[attr-defined]
            assert abs(float(row["quantity"]) - float(row["venue"])) < 1e-8
        assert TradingState.HALTED is switch_of(operations).read().state

    assert 0 == main(["resume", "--reason", "drill over"])
    assert 3 == window(operations, market, 3).bars
    assert 2 == len(held(operations, market))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_living_trader_is_asked_to_end_first(operations: OperationsSettings, market: Market) -> None:
    """It ends by the signal, before anything is closed; what it leaves is closed once, under the next token."""
    with traders(operations, market) as start:
        trader = start(6)

        done = flatten(operations)
        trader.communicate(timeout=30)

    assert -signal.SIGTERM == trader.returncode
    assert done.flat
    assert each_once(operations)
    assert {order["clientOrderId"] for order in ledger(operations)} <= approved(operations, market)
    assert ({}, []) == (held(operations, market), still_open(operations))


@pytest.mark.slow
def test_without_any_journal_what_bears_our_name_is_cancelled_and_nothing_else(operations: OperationsSettings, market: Market) -> None:
    reached = venue_of(operations)
    assert reached is not None
    exchange = reached[1]
    for name in ("tw-orphan", "a-person"):
        exchange.create_order("BTC/USDT", "limit", "buy", "0.01", "1000", {"newClientOrderId": name})

    done = flatten(operations)

    assert done.flat
    assert ["a-person"] == [order["clientOrderId"] for order in still_open(operations)]
    assert ("free", "halted", ()) == ((found := standing(operations, "live")).lease.state, found.state, found.journals)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_dust_that_cannot_be_sold_stays_and_the_rest_is_closed(operations: OperationsSettings, market: Market) -> None:
    """A position below the least notional (5 USDT) is refused by the exchange; the account counts as flat, and the book says what is left."""
    reached = venue_of(operations)
    assert reached is not None
    exchange, grid = reached[1], market.grid()
    for symbol, quantity in (("BTC/USDT", "0.5"), ("ETH/USDT", "0.1")):
        exchange.create_order(symbol, "market", "buy", quantity)
    dust = int(Decimal("4") / Decimal(str(exchange.fetch_ticker("ETH/USDT")["last"])) / grid["ETH/USDT"].lot)
    exchange.create_order("ETH/USDT", "market", "sell", str(Decimal("0.1") - dust * grid["ETH/USDT"].lot))
    with Chain(operations.var / "journal" / f"live-{market.name}.sqlite", sync=False) as chain:
        totals = {asset: Decimal(str(amount)) for asset, amount in exchange.fetch_balance()["total"].items()}
        Journal(chain, "settings-1").record_opening(market_now(exchange), Portfolio.of_balances(grid, "USDT", totals))

    before = lots(operations, market)

    done = flatten(operations)

    assert done.flat
    assert 0 < before["ETH/USDT"] < dust + 2
    assert ["BTC/USDT"] == [line.split()[2] for line in done.closed]
    assert {**before, "BTC/USDT": 0} == lots(operations, market)
