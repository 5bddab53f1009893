"""From the exchange writing the frame that closes a bar to the exchange receiving the order decided on it, over loopback, in live mode.

A real practice exchange process, a real websocket, unmodified ccxt, a synced journal, features of every symbol and a linear model's forecast in the
path; both times are taken by the exchange, on its clock. One symbol of four is traded at every close, so that every close is measured. The second
line is what sizing, risk and building the order cost alone, in processor time of the deciding thread: it tells the work, not who else was busy on the
machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _exchange import ask, exchange

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.books.journal import Step
from desk.chain import Chain
from desk.clock import WallClock
from desk.execution.ccxt_settings import constructor_config
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.features import batch
from desk.features.recipe import Recipe, load
from desk.market.exchange_source import ExchangeSource, open_exchange, open_streams
from desk.market.streamed_feed import StreamedFeed, Window
from desk.modes import Clearance, Setup, live, open_book
from desk.risk.exposure import RiskDesk
from desk.security.arming import ArmedLease
from desk.session import Session
from desk.strategy.policy import View
from models.forecasters import LinearForecaster
from models.scaling import Scaler

EVENTS = 2_000
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
TRADED = SYMBOLS[-1]  # decided last: everything before it is in the path
SWING = 0.2  # small: two thousand times the cost of trading must not reach the drawdown limit
GOAL_MS, GOAL_US = 25.0, 200.0


class Swing:
    """In and out of one symbol, close by close; the others are looked at and left alone."""

    warmup_bars = 2

    def __init__(self) -> None:
        self._into = False

    def target(self, view: View) -> float:
        """Exposure of this symbol."""
        if view.symbol != TRADED or view.forecast is None:
            return 0.0
        self._into = not self._into
        return SWING if self._into else 0.0


class Profile:
    """Adds up, close by close, the processor time this thread spends in the named methods, the outermost call counted once."""

    def __init__(self, *methods: tuple[type, str]) -> None:
        self._inside, self._sum_ns = False, 0
        self.worked_us: list[float] = []
        for owner, name in methods:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            if self._inside:
                return method(*given)
            self._inside, began = True, time.thread_time_ns()
            try:
                return method(*given)
            finally:
                self._sum_ns += time.thread_time_ns() - began
                self._inside = False

        return timed

    def closed(self, step: Step) -> None:
        """One close is decided and sent."""
        self.worked_us.append(self._sum_ns / 1e3)
        self._sum_ns = 0


def model(recipe: Recipe, source: ExchangeSource, until: datetime) -> LinearForecaster:
    """A linear model of the recipe's width, on this market's scale. What it says does not matter, what it costs does."""
    bars = pl.concat([page for symbol in SYMBOLS for page in source.bars(symbol, Timeframe.H1, until - timedelta(hours=1500), until)])
    names = tuple(feature.name for feature in recipe.features)
    features = batch.compute(recipe, bars).select(names).drop_nans().to_numpy()
    return LinearForecaster(np.random.default_rng(1).normal(0, 1e-3, len(names) + 1), Scaler.fit(features), 0.01, names, 12)


def trade(greeting: dict[str, Any], events: int, folder: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """A live session of so many events. Returns the exchange's marks, and microseconds of risk, sizing and order building for each close."""
    config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")))
    client, recipe = open_exchange(config), load("core")
    source = ExchangeSource(client)
    window = Window(events, advance=lambda: ask(greeting, "/advance", {"bars": 1}))
    feed = StreamedFeed(source, lambda: open_streams(config), SYMBOLS, Timeframe.H1, window)
    instruments = {symbol: grid for symbol, grid in source.instruments().items() if symbol in SYMBOLS}
    setup = Setup("bench", "bench", instruments, Swing(), TradingSettings(), RiskSettings(), recipe, model(recipe, source, feed.opened_at))
    profile = Profile((Session, "_size"), (RiskDesk, "judge"), (Session, "_protect"))
    clock = WallClock()
    with Chain(folder / "bench.sqlite", sync=True) as chain, ArmedLease(folder / "armed", clock.now() + timedelta(hours=1)) as lease:
        passed, scope = preflight(client, instruments), trading_scope(client)
        venue = ExchangeVenue(client, instruments, clock=clock, lease=lease, bar=Timeframe.H1.delta)
        live(feed, setup, venue, Clearance(passed, open_book(setup, venue, chain, feed.opened_at), lease, scope), chain, on_step=profile.closed)
        return ask(greeting, "/marks"), profile.worked_us


def reactions(marks: list[dict[str, Any]]) -> list[float]:
    """Milliseconds from each boundary's frames to the first order after them."""
    found, frames = list[float](), None
    for mark in marks:
        if mark["what"] == "frames":
            frames = mark["ns"]
        elif frames is not None:
            found.append((mark["ns"] - frames) / 1e6)
            frames = None
    return found


def line(name: str, values: list[float], unit: str, goal: float) -> dict[str, Any]:
    """p99 against its goal, the median beside it."""
    value, median = float(np.quantile(values, 0.99)), float(np.median(values))
    detail = {"p50": round(median, 3), "p99.9": round(float(np.quantile(values, 0.999)), 3), "max": round(max(values), 3), "events": len(values)}
    return {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "met": value < goal, "detail": detail}


def main(events: int = EVENTS) -> None:
    """Trade, then tell."""
    options = ("--seed", "7", "--symbols", ",".join(SYMBOLS), "--history-bars", "3000", "--stream-bars", str(events + 100), "--weight-limit", "100000000")
    with tempfile.TemporaryDirectory() as folder, exchange(*options) as greeting:
        marks, worked_us = trade(greeting, events, Path(folder))
    print(json.dumps(line("event_to_order", reactions(marks), "ms p99", GOAL_MS)))
    print(json.dumps(line("event_to_order.decision", worked_us[10:], "us p99", GOAL_US)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
