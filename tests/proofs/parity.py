"""Claim: the same day of bars is decided the same as backtest, on paper and live; backtest and paper execute the same; each is replayed in each mode.

Two practice exchange processes print the same seeded day of one-minute bars; one is traded on paper, the other live through REST. The stored day is
traded once more as a backtest. Then every run is read back from its recording and replayed in all three modes, and what live orders cost apart from
paper's is taken apart: the parts must add up to within one basis point of every order's notional.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
import numpy as np
import polars as pl
from _proof import Size, Verdict, ask, exchange, prove
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import PolicySettings, TradingSettings
from configs.vocabulary import Mode, Timeframe
from desk.chain import Chain
from desk.clock import WallClock
from desk.execution.ccxt_settings import constructor_config
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.features import recipe
from desk.market.exchange_source import ExchangeSource
from desk.market.stored_feed import StoredFeed
from desk.market.streamed_feed import StreamedFeed, Window
from desk.modes import Clearance, Setup, backtest, live, open_book, paper
from desk.replay import Run, instruments_of, read_run, replay
from desk.review.discrepancy import discrepancies
from desk.security.arming import ArmedLease
from desk.session import SessionResult
from desk.strategy.band import BandPolicy

BARS = 1440  # of one day
SYMBOLS = "BTC/USDT,ETH/USDT,SOL/USDT"
MINUTE = Timeframe.M1
HISTORY = 199  # the synthetic market has outages of hours in histories that are longer
RESIDUAL_GOAL_BPS = 1.0


class Momentum:
    """A stand-in for a trained model: a fixed linear reading of the last feature rows, with many digits."""

    lookback_bars = 4

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        """Mean and sd."""
        return float(window.astype(np.float64)[:, :4].mean() / 3.0), 1.0

    def name_at(self, closed_at: datetime) -> str:
        """Always the same."""
        return "momentum"


class Tape:
    """One exchange process and a feed of it."""

    def __init__(self, greeting: dict[str, Any]) -> None:
        self.greeting = greeting
        self.config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")))
        self.client = ccxt.binance(self.config)
        self.source = ExchangeSource(self.client)
        self.instruments = self.source.instruments()

    def feed(self, bars: int) -> StreamedFeed:
        """So many bars, one after the other."""
        window = Window(bars, advance=lambda: ask(self.greeting, "/advance", {"bars": 1}), watchdog_s=20.0)
        return StreamedFeed(self.source, lambda: ccxt.pro.binance(self.config), tuple(self.instruments), MINUTE, window)

    def bars(self, count: int) -> pl.DataFrame:
        """Everything printed so far, over REST."""
        end = self.source.closed_until(MINUTE)
        return pl.concat([page for symbol in self.instruments for page in self.source.bars(symbol, MINUTE, end - count * MINUTE.delta, end)])

    def setup(self, name: str) -> Setup:
        """Rule, features and stand-in model."""
        policy = BandPolicy(PolicySettings(entry=0.05, exit=0.0))
        return Setup(name, "parity", self.instruments, policy, TradingSettings(), RiskSettings(), recipe.load("core"), Momentum())


def live_day(tape: Tape, folder: Path, bars: int) -> SessionResult:
    """The day with orders of its own."""
    setup = tape.setup("live")
    with Chain(folder / "live.sqlite", sync=True) as chain, ArmedLease(folder / "armed", WallClock().now() + timedelta(hours=1)) as lease:
        passed, scope = preflight(tape.client, tape.instruments), trading_scope(tape.client)
        venue, feed = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=MINUTE.delta), tape.feed(bars)
        book = open_book(setup, venue, chain, feed.opened_at)
        return live(feed, setup, venue, Clearance(passed, book, lease, scope), chain)


def parity(seed: int, runs: int) -> Verdict:
    """Trade `runs` days three ways; each difference counts."""
    wrong: list[str] = []
    totals: dict[str, float] = {"orders": 0, "live_fills": 0, "steps": 0, "replays": 0, "largest_residual_bps": 0.0}
    began = time.monotonic()
    for day in range(runs):
        market = ("--seed", str(seed + day), "--symbols", SYMBOLS, "--timeframe", "1m", "--history-bars", str(HISTORY), "--stream-bars", str(BARS + 5))
        with tempfile.TemporaryDirectory(prefix="tradewind-parity-") as folder, exchange(*market) as one, exchange(*market) as other:
            wrong += [f"day {day}: {what}" for what in one_day((Tape(one), Tape(other)), Path(folder), totals)]
    detail = {**totals, "wrong": wrong[:20], "seconds": round(time.monotonic() - began, 1)}
    goal = "0 differences; residual of every order < 1 bp"
    return Verdict(runs, len(wrong), "differences", goal, not wrong and totals["orders"] > 0, detail)


def one_day(tapes: tuple[Tape, Tape], folder: Path, totals: dict[str, float]) -> list[str]:
    """Everything that differs on one day."""
    papers, lives = tapes
    opened, setup = papers.feed(1).opened_at, papers.setup("paper")
    with Chain(folder / "paper.sqlite", sync=True) as chain:
        on_paper = paper(papers.feed(BARS), setup, chain)
    with Chain(folder / "backtest.sqlite", sync=False) as chain:
        stored = backtest(StoredFeed(papers.bars(BARS + HISTORY), start=opened), setup, chain)
    traded = live_day(lives, folder, BARS)
    wrong = [f"backtest and paper: {part}" for part in SessionResult.__slots__ if getattr(stored, part) != getattr(on_paper, part)]
    wrong += ["paper and live: targets"] if on_paper.target_hashes != traded.target_hashes else []
    wrong += [f"{on_paper.bars} bars instead of {BARS}"] if on_paper.bars != BARS else []
    runs = {name: read_run(folder / f"{name}.sqlite") for name in ("backtest", "paper", "live")}
    for name, run in runs.items():
        for mode in Mode:
            told = replay(run, (lives if name == "live" else papers).setup("live" if name == "live" else "paper"), mode)
            wrong += [f"{name} replayed as {mode}: {told.divergence}"] if told.divergence else []
            totals["replays"] += 1
            totals["orders"] += told.orders
    totals["steps"] += on_paper.bars
    totals["live_fills"] += len(traded.fills)
    return wrong + costs_apart(runs["live"], runs["paper"], totals)


def costs_apart(live_run: Run, paper_run: Run, totals: dict[str, float]) -> list[str]:
    """Orders whose parts do not add up; the mean of each part goes to the totals."""
    found = discrepancies(live_run.story, paper_run.story, live_run.inputs.events, instruments_of(live_run.inputs.setup), TradingSettings().costs)
    for part in ("latency", "spread", "impact", "missed", "fee", "residual"):
        totals[f"mean_{part}_bps"] = round(sum(getattr(each, part) for each in found) / max(len(found), 1), 4)
    worst = max((abs(each.residual) for each in found), default=0.0)
    totals["largest_residual_bps"] = round(max(totals["largest_residual_bps"], worst), 6)
    return [f"{each.symbol} at {each.closed_at}: residual {each.residual}" for each in found if not abs(each.residual) < RESIDUAL_GOAL_BPS]


if __name__ == "__main__":
    sys.exit(prove("parity", Size(1, 5), parity))
