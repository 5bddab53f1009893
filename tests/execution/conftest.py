"""An exchange to send orders to: the practice exchange in its own process, reached through unmodified ccxt."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ccxt
import ccxt.pro
import pytest

from configs.vocabulary import Submission, Timeframe
from desk.events import BarsClosed
from desk.execution.ccxt_settings import constructor_config
from desk.execution.streamed_orders import order_wire
from desk.market.exchange_source import ExchangeSource
from desk.market.streamed_feed import StreamedFeed, Window

Wire = tuple[Any, Callable[[float], None] | None]


@dataclass
class Practice:
    """One running practice exchange: a ccxt client of it, and its admin door."""

    client: Any
    admin: str
    config: dict[str, Any]

    def streams(self) -> Any:
        """A ccxt.pro client of the same exchange."""
        return ccxt.pro.binance(self.config)

    def advance(self) -> None:
        """Move the market on by one bar."""
        question = urllib.request.Request(f"{self.admin}/advance", json.dumps({"bars": 1}).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(question, timeout=10).read()

    def plan(self, fault: dict[str, Any]) -> None:
        """Let the next request that matches meet this fault."""
        question = urllib.request.Request(f"{self.admin}/faults", json.dumps(fault).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(question, timeout=10).read()

    def orders(self) -> list[dict[str, Any]]:
        """Every order the exchange ever accepted."""
        return json.loads(urllib.request.urlopen(f"{self.admin}/orders", timeout=10).read())

    def now(self) -> datetime:
        """Market time."""
        return ExchangeSource(self.client).closed_until(Timeframe.H1)

    def next_event(self, symbols: tuple[str, ...]) -> BarsClosed:
        """Advance and hand over what closed."""
        before = self.now()
        self.advance()
        feed = StreamedFeed(ExchangeSource(self.client), lambda: None, symbols, Timeframe.H1, Window(1))
        (event,) = feed.history(1, before + Timeframe.H1.delta)
        return event


@pytest.fixture(scope="session")
def wires(practice: Practice) -> Iterator[dict[str, Wire]]:
    """By name: the wires that orders to the practice exchange can leave by, and how each waits for news."""
    with order_wire(practice.client, practice.streams, Submission.STREAM) as stream, order_wire(practice.client, practice.streams, Submission.REST) as rest:
        yield {"rest": rest, "stream": stream}


@pytest.fixture(scope="session")
def practice(practice_exchange: Callable[..., dict[str, Any]]) -> Practice:
    """A practice exchange with two symbols and a client whose receive window is short, so that proofs of absence are quick."""
    greeting = practice_exchange("--seed", "11", "--symbols", "BTC/USDT,ETH/USDT", "--history-bars", "300", "--stream-bars", "400")
    config = constructor_config(greeting["rest"], greeting["ws"], greeting["api_key"], greeting["secret"])
    client = ccxt.binance(config)
    client.options["recvWindow"] = 500
    client.load_markets()
    return Practice(client, greeting["admin"], config)
