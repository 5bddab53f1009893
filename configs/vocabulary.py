"""The words every floor shares: modes, sides, timeframes, symbols.

Pure values; nothing here reads a file, a clock or the environment.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Mode(StrEnum):
    """How a session is assembled: chosen by the trade flow, carried out by `desk/modes.py`, seen by nobody else."""

    BACKTEST = "backtest"
    PAPER = "paper"
    LIVE = "live"


class Side(StrEnum):
    """Direction of an order or a fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderKind(StrEnum):
    """What an order asks of a venue. Stops and take-profits sleep until the market reaches their stop price."""

    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT = "take_profit"


class OrderLife(StrEnum):
    """How long an order may live: until the next bar, until cancelled, now or never, all or nothing."""

    BAR = "bar"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class TradingState(StrEnum):
    """Which orders may leave: all that the guards approve, only those that reduce positions, or none."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class Route(StrEnum):
    """How an order reaches a market: whole, in equal slices, in slices as the market trades, with its volume, or a little at a time at the touch."""

    MARKET = "market"
    TWAP = "twap"
    VWAP = "vwap"
    POV = "pov"
    ICEBERG = "iceberg"
    AUTO = "auto"


class Construction(StrEnum):
    """How forecasts become a portfolio: each symbol alone, by risk, by growth, by return against risk, with costs in mind, or several of these at once."""

    BAND = "band"
    VOL_TARGET = "vol_target"
    KELLY = "kelly"
    MEAN_VARIANCE = "mean_variance"
    RISK_PARITY = "risk_parity"
    HRP = "hrp"
    GARLEANU_PEDERSEN = "garleanu_pedersen"
    ENSEMBLE = "ensemble"


class Submission(StrEnum):
    """The wire that orders leave by."""

    REST = "rest"
    STREAM = "stream"


class VenueName(StrEnum):
    """Where market data comes from and orders go to."""

    PRACTICE = "practice"
    BINANCE = "binance"


class Timeframe(StrEnum):
    """Length of a bar, in the field's usual spelling."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def milliseconds(self) -> int:
        """Length of one bar in milliseconds."""
        return int(self.value[:-1]) * {"m": 60_000, "h": 3_600_000, "d": 86_400_000}[self.value[-1]]

    @property
    def delta(self) -> timedelta:
        """Length of one bar."""
        return timedelta(milliseconds=self.milliseconds)

    @property
    def bars_per_year(self) -> float:
        """Bars in a year of 365 days: crypto markets never close."""
        return 365 * 86_400_000 / self.milliseconds
