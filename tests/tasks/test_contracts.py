"""Contracts on margin from the venue's list to a paper window: other instruments, other streams, and rates that are kept beside the bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from configs.learning import LearningSettings
from configs.market import MarketSettings, PracticeSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import PerpetualSettings, TradingSettings
from configs.vocabulary import Timeframe
from desk.errors import PreflightFailed
from desk.market.funding import rates_due
from desk.market.ingest import Wanted, ingest
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View
from tasks.funding import ingest_funding
from tasks.market import history_source, open_market
from tasks.places import lake_of
from tasks.services.exchange import ensure_exchange
from tasks.services.processes import stop
from tasks.trade import paper_window
from tasks.values import Market, Rules

COINS, CONTRACTS = ("BTC/USDT", "ETH/USDT"), ("BTC/USDT:USDT", "ETH/USDT:USDT")
PRACTICE = PracticeSettings(symbols=COINS, history_bars=200, stream_bars=20)


class Short:
    """Always short."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        return -0.5


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperationsSettings]:
    operations = OperationsSettings(var=tmp_path_factory.mktemp("contracts") / "var")
    ensure_exchange(MarketSettings(practice=PRACTICE), operations, [])
    yield operations
    stop(operations, "exchange")


def opened(operations: OperationsSettings, *symbols: str) -> Market:
    return open_market.fn(MarketSettings(symbols=symbols or None, practice=PRACTICE), operations, [])


def test_coins_and_contracts_are_two_markets(operations: OperationsSettings) -> None:
    coins, contracts = opened(operations), opened(operations, *CONTRACTS)

    assert (COINS, CONTRACTS) == (coins.symbols, contracts.symbols)
    assert [True, True] == [each.perpetual for each in contracts.grid().values()]
    with pytest.raises(PreflightFailed, match="found both"):
        opened(operations, COINS[0], CONTRACTS[1])


def test_rates_are_kept_for_contracts_alone(operations: OperationsSettings) -> None:
    market, lake = opened(operations, *CONTRACTS), lake_of(operations)

    ref, again, none = ingest_funding.fn(market, operations), ingest_funding.fn(market, operations), ingest_funding.fn(opened(operations), operations)

    assert none is None
    assert ref is not None
    assert ref == again
    rates = lake.read(ref)
    assert [1 + 200 // 8] * 2 == rates.group_by("symbol").len()["len"].to_list()
    assert rates["open_time"].max() <= market.history_until


@pytest.mark.timeout(60)
def test_the_rates_of_the_venue_are_what_a_backtest_pays(operations: OperationsSettings) -> None:
    market, lake = opened(operations, *CONTRACTS), lake_of(operations)
    bars = lake.read(ingest(history_source(market, operations, lambda _: None), lake, Wanted("bars_x", CONTRACTS, Timeframe.H1, market.history_until)))
    ref = ingest_funding.fn(market, operations)
    assert ref is not None
    rates = lake.read(ref)
    setup = Setup("contracts", "settings", market.grid(), Short(), TradingSettings(), RiskSettings(), funding=rates_due(rates, Timeframe.H1))

    told = backtest(StoredFeed(bars), setup)

    paid = [fill for fill in told.fills if not fill.quantity]
    assert {(fill.symbol, fill.at) for fill in paid} == set(
        rates.filter(pl.col("open_time") > bars["open_time"].min() + Timeframe.H1.delta * 2).select("symbol", "open_time").rows()
    )
    rate_of = {(symbol, at): rate for symbol, at, rate in rates.select("symbol", "open_time", "rate").rows()}
    # Shorts receive what is positive.
    assert all((fill.fee < 0) == (rate_of[fill.symbol, fill.at] > 0) for fill in paid)


@pytest.mark.timeout(60)
def test_a_paper_window_trades_contracts_on_their_own_stream(operations: OperationsSettings, tmp_path: Path) -> None:
    """Rates of bars to come are nobody's to know: paper charges the settings' one."""
    market = opened(operations, *CONTRACTS)
    trading = TradingSettings(paper_bars=10, perpetual=PerpetualSettings(funding_rate=0.01))
    rules = Rules(trading=trading, risk=RiskSettings(), learning=LearningSettings(), settings_hash="settings")

    window = paper_window(market, Setup("paper-contracts", "settings", market.grid(), Short(), trading, RiskSettings()), rules, operations)

    assert (10, True) == (window.bars, window.fills > 2)
    assert window.fees < 0
