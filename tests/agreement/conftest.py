"""Two practice exchanges with the same tape, and one setup for every mode."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ccxt
import ccxt.pro
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.execution.ccxt_settings import constructor_config
from desk.market.exchange_source import ExchangeSource
from desk.market.streamed_feed import StreamedFeed, Window
from desk.modes import Setup
from desk.strategy.policy import Policy


@dataclass
class Tape:
    """A running practice exchange: ccxt clients of it, and a streamed feed that asks for one bar after the other."""

    greeting: dict[str, Any]

    def __post_init__(self) -> None:
        self.config = constructor_config(*(self.greeting[key] for key in ("rest", "ws", "api_key", "secret")))
        self.client = ccxt.binance(self.config)
        self.client.options["recvWindow"] = 1000
        self.source = ExchangeSource(self.client)
        self.instruments = self.source.instruments()

    def advance(self) -> None:
        question = urllib.request.Request(f"{self.greeting['admin']}/advance", json.dumps({"bars": 1}).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(question, timeout=10).read()

    def feed(self, events: int) -> StreamedFeed:
        window = Window(events, advance=self.advance, watchdog_s=20.0)
        return StreamedFeed(self.source, lambda: ccxt.pro.binance(self.config), tuple(self.instruments), Timeframe.H1, window)

    def bars(self) -> pl.DataFrame:
        """Everything the exchange has printed so far, over REST."""
        begin = self.source.closed_until(Timeframe.H1) - 2000 * Timeframe.H1.delta
        end = self.source.closed_until(Timeframe.H1)
        return pl.concat([page for symbol in self.instruments for page in self.source.bars(symbol, Timeframe.H1, begin, end)])

    def setup(self, policy: Policy, **more: Any) -> Setup:
        return Setup("session-1", "settings-1", self.instruments, policy, TradingSettings(), RiskSettings(), **more)


@pytest.fixture
def new_tape(practice_exchange: Callable[..., dict[str, Any]]) -> Callable[[], Tape]:
    """`new_tape()` starts an exchange on the same seeded tape as every other."""
    return lambda: Tape(practice_exchange("--seed", "5", "--symbols", "BTC/USDT,ETH/USDT,SOL/USDT", "--history-bars", "400", "--stream-bars", "300"))
