"""A market made by hand: twelve bars that come again and again, so that a test can wait for the one it needs; and rules that trade it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import polars as pl

from configs.vocabulary import Timeframe
from desk.strategy.policy import View

SYMBOL = "BTC/USDT"
HOUR = Timeframe.H1.delta
FIRST = datetime(2023, 1, 1, tzinfo=UTC)
HISTORY = 60
CALM = (40_000.0, 40_000.0, 40_000.0, 40_000.0, 1000.0)
# Open, high, low, close, volume. Of each a tenth of its volume can be had.
SCENES = {
    "calm": CALM,
    "before thin": CALM,
    "thin": (40_000.0, 40_000.0, 40_000.0, 40_000.0, 0.001),  # ten lots, worth less than the least notional
    "after thin": CALM,
    "dip": (40_000.0, 40_000.0, 39_000.0, 40_000.0, 0.5),
    "before fall": CALM,
    "fall": (40_000.0, 40_000.0, 30_000.0, 30_000.0, 1000.0),
    "low": (30_000.0, 30_000.0, 30_000.0, 30_000.0, 1000.0),
    "gap": (25_000.0, 25_000.0, 25_000.0, 25_000.0, 1.0),  # opens far below where the bar before closed
    "lower": (25_000.0, 25_000.0, 25_000.0, 25_000.0, 1000.0),
    "lowest": (20_000.0, 20_000.0, 20_000.0, 20_000.0, 1000.0),
    "rise": (20_000.0, 40_000.0, 20_000.0, 40_000.0, 1000.0),
}
ORDER = tuple(SCENES)


@dataclass
class Stage:
    """An exchange whose market is the scenes."""

    exchange: Any  # an `Exchange` of the harness

    def bring(self, scene: str) -> None:
        """Let bars close until the one that forms is `scene`."""
        missing = (ORDER.index(scene) - self._standing()) % len(ORDER)
        self.exchange.admin("/advance", {"bars": missing})

    def empty(self) -> None:
        """A calm market, an account without open orders and with nothing held that could be sold."""
        client = self.exchange.client
        self.bring("calm")
        if client.fetch_open_orders(SYMBOL):
            client.cancel_all_orders(SYMBOL)
        # Dust cannot be sold alone.
        client.create_order(SYMBOL, "market", "buy", "0.01")
        self.exchange.sell_out()

    def _standing(self) -> int:
        now = datetime.fromisoformat(self.exchange.admin("/market")["now"])
        return ((now - FIRST) // HOUR - HISTORY) % len(ORDER)


def tape(path: Path, rounds: int) -> tuple[str, ...]:
    """Write a calm history and so many rounds; the arguments of an exchange that serves them."""
    rows = [CALM] * HISTORY + list(islice(cycle(SCENES.values()), rounds * len(SCENES)))
    columns = dict(zip(("open", "high", "low", "close", "volume"), zip(*rows, strict=True), strict=True))
    times = pl.Series("open_time", [FIRST + number * HOUR for number in range(len(rows))], pl.Datetime("us", "UTC"))
    pl.DataFrame({"symbol": [SYMBOL] * len(rows), "timeframe": ["1h"] * len(rows), "open_time": times, **columns}).write_parquet(path)
    return ("--candles", str(path), "--history-bars", str(HISTORY), "--stream-bars", str(rounds * len(SCENES)))


def bought(orders: list[dict[str, Any]]) -> Decimal:
    """What orders bought, fees in kind taken out."""
    return sum((Decimal(fill["qty"]) - Decimal(fill["commission"]) for each in orders if each["side"] == "BUY" for fill in each["fills"]), Decimal(0))


def sold(orders: list[dict[str, Any]]) -> Decimal:
    """What orders sold."""
    return sum((Decimal(fill["qty"]) for each in orders if each["side"] == "SELL" for fill in each["fills"]), Decimal(0))


@dataclass
class Follower:
    """In while the market closes above a price; out, or silent, below it."""

    above: float = 35_000.0
    below: float = 0.0
    warmup_bars = 1

    def target(self, view: View) -> float:
        return 1.0 if view.closes[-1] > self.above else self.below


class Silent:
    """Wants nothing, neither in nor out."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        return math.nan
