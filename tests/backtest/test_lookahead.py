"""Sources of decisions that look ahead are found out, each in its own way of doing it, and those that do not are left in peace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from desk.backtest.lookahead import Decide, lookahead
from desk.backtest.panel import Panel
from desk.features import batch, recipe
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View

N_BARS = 400
SPANS = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours) for hours in (150, 301)]


@pytest.fixture(scope="module")
def bars(market: Callable[[int, int, int], Panel]) -> pl.DataFrame:
    panel = market(5, N_BARS, 2)
    columns = {name: getattr(panel, name).T.reshape(-1) for name in ("open", "high", "low", "close", "volume")}
    symbols = [symbol for symbol in panel.symbols for _ in range(N_BARS)]
    times = pl.Series(np.tile(panel.times, 2)).dt.replace_time_zone("UTC")
    return pl.DataFrame({"symbol": symbols, "timeframe": "1h", "open_time": times, **columns})


def of_each_symbol(value: pl.Expr) -> Decide:
    """A source of one value a bar, computed from a symbol's own bars."""
    return lambda frame: frame.sort("symbol", "open_time").select("symbol", "open_time", value=value.over("symbol"))


CLOSE = pl.col("close")
HONEST = {
    "momentum": (CLOSE / CLOSE.shift(5) - 1).sign(),
    "trailing mean": CLOSE.rolling_mean(20),
    "scaled by what was seen": (CLOSE - CLOSE.cum_sum() / pl.int_range(1, pl.len() + 1)) / CLOSE.rolling_std(50),
    "always flat": CLOSE * 0.0,
}
PEEKING = {
    "the next bar's move": (CLOSE.shift(-1) / CLOSE - 1).sign(),
    "the next bar's move, zero where there is none": (CLOSE.shift(-1) / CLOSE - 1).sign().fill_null(0.0),
    "centred window": CLOSE.rolling_mean(21, center=True),
    "centred window that makes do at the edge": CLOSE.rolling_mean(21, center=True, min_samples=1),
    "scaled by the whole span": (CLOSE - CLOSE.mean()) / CLOSE.std(),
    "ranked in the whole span": CLOSE.rank() / pl.len(),
    "filled from behind": pl.when(CLOSE > CLOSE.shift(1)).then(CLOSE).otherwise(None).backward_fill(),
    "counted from the end": pl.int_range(pl.len()).reverse(),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_looks_back_only_passes(bars: pl.DataFrame, name: str) -> None:
    found = lookahead(of_each_symbol(HONEST[name]), bars, SPANS)

    assert found.passed, found.words
    # Two worlds for each cut, two symbols.
    assert 2 * 2 * (150 + 301) == found.compared


@pytest.mark.parametrize("name", PEEKING)
def test_what_looks_ahead_is_found_out(bars: pl.DataFrame, name: str) -> None:
    found = lookahead(of_each_symbol(PEEKING[name]), bars, SPANS)

    assert not found.passed
    assert found.changed > 0
    assert "became" in found.first


@pytest.mark.parametrize("name", HONEST)
def test_honest_signals_of_one_bar_earlier_are_found_out(bars: pl.DataFrame, name: str) -> None:
    """The error that backtests die of most often, made of every honest source."""
    shifted = of_each_symbol(HONEST[name].shift(-1))

    found = lookahead(shifted, bars, SPANS)

    assert not found.passed
    first_cut = SPANS[0] - timedelta(hours=1)
    assert f"at {bars['symbol'].min()} {first_cut.isoformat()}" in found.first


def test_what_was_looked_up_in_advance_is_found_out_when_it_is_made_of_the_bars(bars: pl.DataFrame) -> None:
    """A regression on the whole span, carried along as coefficients: honest row by row, and fitted on what comes."""

    def fitted(frame: pl.DataFrame) -> pl.DataFrame:
        moved = frame.sort("symbol", "open_time").with_columns(x=CLOSE.pct_change().over("symbol"), y=CLOSE.pct_change().shift(-1).over("symbol"))
        known = moved.drop_nulls(["x", "y"])
        slope = np.polyfit(known["x"].to_numpy(), known["y"].to_numpy(), 1)[0]
        return moved.select("symbol", "open_time", value=pl.col("x") * slope)

    assert not lookahead(fitted, bars, SPANS).passed


def test_features_pass_as_their_certificates_say(bars: pl.DataFrame) -> None:
    chosen = recipe.load("core")

    found = lookahead(lambda frame: batch.compute(chosen, frame).drop("timeframe"), bars, SPANS)

    assert found.passed, found.words


@dataclass(frozen=True)
class Rule:
    """Long after a rise; or, knowing the closes to come, before one."""

    coming: dict[tuple[str, datetime], float] | None = None
    warmup_bars: int = 3

    def target(self, view: View) -> float:
        now = float(view.closes[-1])
        if self.coming is None:
            return float(now > view.closes[0])
        return float(self.coming.get((view.symbol, view.closed_at + timedelta(hours=1)), now) > now)


def by_session(*, peeking: bool) -> Decide:
    """What a session decides on a bars frame, by a rule of the user's own."""

    def decided(frame: pl.DataFrame) -> pl.DataFrame:
        closes = {(row["symbol"], row["open_time"] + timedelta(hours=1)): row["close"] for row in frame.iter_rows(named=True)}
        grid = {symbol: Instrument(symbol, symbol.split("/")[0], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in frame["symbol"].unique()}
        told = backtest(StoredFeed(frame), Setup("lookahead", "settings", grid, Rule(closes if peeking else None), TradingSettings(), RiskSettings()))
        rows = [(target.symbol, target.closed_at - timedelta(hours=1), target.exposure) for target in told.targets]
        return pl.DataFrame(rows, schema={"symbol": pl.String, "open_time": pl.Datetime("us", "UTC"), "exposure": pl.Float64}, orient="row")

    return decided


def test_any_policy_is_asked_through_the_session_itself(bars: pl.DataFrame) -> None:
    honest, peeking = (lookahead(by_session(peeking=peeking), bars, SPANS[:1], after_bars=24) for peeking in (False, True))

    assert honest.passed, honest.words
    assert not peeking.passed


def test_rows_that_come_or_go_with_the_future_are_changes(bars: pl.DataFrame) -> None:
    """A source that speaks only while enough bars are left."""
    found = lookahead(
        lambda frame: frame.filter(pl.int_range(pl.len()).over("symbol") < pl.len().over("symbol") - 5).select("symbol", "open_time", "close"), bars, SPANS
    )

    assert found.changed > 0


def test_nothing_compared_is_nothing_shown(bars: pl.DataFrame) -> None:
    """No cut, or none behind the first bar; and a check that would not notice an early signal says so."""
    none = lookahead(of_each_symbol(CLOSE), bars, [])
    before = lookahead(of_each_symbol(CLOSE), bars, [datetime(2020, 1, 1, tzinfo=UTC)], whole=of_each_symbol(CLOSE)(bars))

    assert (0, False, False) == (none.compared, none.alert, none.passed)
    assert not before.passed
    assert "were not noticed" in before.words
