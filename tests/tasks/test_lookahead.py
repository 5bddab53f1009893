"""The gate's two rows on looking ahead: what a session decided, and what a model to trade has learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from configs.learning import FoldSettings, LearningSettings, NetworkSettings, TrainingSettings
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import SessionResult
from desk.strategy.policy import View
from tasks.lookahead import decisions_check, learning_check

BEGINS = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 700
LEARNING = LearningSettings(
    lookback_bars=8,
    network=NetworkSettings(channels=8, layers=2),
    training=TrainingSettings(steps=4, batch_blocks=4, block_bars=16),
    folds=FoldSettings(n_folds=1, holdout_share=0.2, embargo_bars=8),
)
HOLDOUT = BEGINS + timedelta(hours=HOURS - round(HOURS * 0.2))


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    random = np.random.default_rng(3)
    frames = []
    for symbol in ("BTC/USDT", "ETH/USDT"):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, HOURS)))
        open_ = close * np.exp(random.normal(0, 0.003, HOURS))
        times = [BEGINS + timedelta(hours=hour) for hour in range(HOURS)]
        prices = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
        frames.append(pl.DataFrame({"symbol": symbol, "timeframe": "1h", "open_time": times, **prices, "volume": random.lognormal(6, 1, HOURS)}))
    return pl.concat(frames).with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


class Rises:
    """Long after a rise."""

    warmup_bars = 3

    def target(self, view: View) -> float:
        return float(view.closes[-1] > view.closes[0])


class Knows(Rises):
    """Long before the last bar of all is higher than this one."""

    def __init__(self, bars: pl.DataFrame) -> None:
        self._last = {row["symbol"]: row["close"] for row in bars.sort("open_time").iter_rows(named=True)}

    def target(self, view: View) -> float:
        return float(self._last[view.symbol] > view.closes[-1])


def traded(bars: pl.DataFrame, policy: Rises) -> SessionResult:
    grid = {symbol: Instrument(symbol, symbol.split("/")[0], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in ("BTC/USDT", "ETH/USDT")}
    return backtest(StoredFeed(bars, start=HOLDOUT), Setup("lookahead", "settings", grid, policy, TradingSettings(), RiskSettings()))


def test_a_session_that_sees_what_closed_passes_and_one_that_sees_more_does_not(bars: pl.DataFrame) -> None:
    rows = [
        decisions_check(bars, HOLDOUT, Timeframe.H1, traded(bars, policy(bars)), lambda frame, policy=policy: traded(frame, policy(frame)))
        for policy in (lambda _: Rises(), Knows)
    ]

    assert [True, False] == [row.passed for row in rows]
    assert "0 changed" in rows[0].found
    assert "became" in rows[1].found


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_model_that_learned_from_what_it_is_tested_on_does_not_pass(bars: pl.DataFrame) -> None:
    """Tested from the holdout on, it knew nothing of it; said to be tested from a week earlier, it had learned that week."""
    honest = learning_check(bars, HOLDOUT, LEARNING)
    peeking = learning_check(bars, HOLDOUT - timedelta(days=7), LEARNING)

    assert honest.passed, honest.found
    assert not peeking.passed
