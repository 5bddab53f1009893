"""Every construction that settings can name trades alike in the session, in the kernel, after restarts, and when it is replayed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import CostSettings, PolicySettings, TradingSettings
from configs.vocabulary import Construction, Mode
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.books.journal import Step
from desk.chain import Chain
from desk.features import recipe
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.replay import read_run, replay, setup_of
from desk.session import SessionResult
from desk.strategy.house import house_strategy
from tasks.backtest import agreement
from tasks.replay import replay_run

SYMBOLS = ("ADA/USDT", "BTC/USDT", "ETH/USDT", "XRP/USDT")
START = datetime(2024, 1, 1, tzinfo=UTC)
N_BARS = 240
ABSENT = 0.03
NAMES = tuple(Construction)


class Momentum:
    """A stand-in for a trained model: a fixed linear reading of the last feature rows, in the size of returns."""

    lookback_bars = 4

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        reading = window.astype(np.float64)[:, :4]
        return float(reading.mean() / 300.0), float(0.01 + np.abs(reading).mean() / 200.0)

    def name_at(self, closed_at: datetime) -> str:
        return "momentum"


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Four walks with a common factor and some bars missing."""
    random = np.random.default_rng(8)
    common, frames = random.normal(size=N_BARS), []
    for deviation, symbol in zip((0.02, 0.006, 0.01, 0.015), SYMBOLS, strict=True):
        close = 100 * np.exp(np.cumsum((0.6 * common + 0.8 * random.normal(size=N_BARS)) * deviation))
        opens = np.concatenate([[100.0], close[:-1]])
        times = pl.Series("open_time", [START + timedelta(hours=hour) for hour in range(N_BARS)], dtype=pl.Datetime("us", "UTC"))
        columns = {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}
        frame = pl.DataFrame({**columns, "volume": random.uniform(5e3, 2e4, N_BARS)})
        frame = frame.select(pl.lit(symbol).alias("symbol"), pl.lit("1h").alias("timeframe"), times, *frame.columns)
        frames.append(frame.filter(pl.Series(random.random(N_BARS) > ABSENT)))
    return pl.concat(frames)


def setup_for(construction: Construction, **knobs: object) -> Setup:
    """Shorts allowed, small costs, limits that refuse now and then."""
    members = ("band", "vol_target", "kelly", "mean_variance", "risk_parity", "hrp", "garleanu_pedersen")
    policy = {"construction": construction, "members": members, "entry": 0.05, "allow_short": True, "covariance_bars": 10, "deviation": 0.01, **knobs}
    trading = TradingSettings(gross_weight=2.0, rebalance_band=0.005, policy=PolicySettings.model_validate(policy), costs=CostSettings(fee_rate=0.0005))
    instruments = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in SYMBOLS}
    risk = RiskSettings(max_position_weight=0.55, max_gross_weight=0.9)
    return Setup("construction-1", "settings", instruments, house_strategy(trading), trading, risk, recipe.load("core"), Momentum())


def exposures_of(told: SessionResult, panel: Panel) -> NDArray[np.float64]:
    """The session's targets [time, asset], NaN where none was set."""
    row = {moment: number for number, moment in enumerate(panel.closed_at.astype("datetime64[us]").tolist())}
    wanted = np.full(panel.close.shape, np.nan)
    for target in told.targets:
        wanted[row[target.closed_at.replace(tzinfo=None)], panel.symbols.index(target.symbol)] = target.exposure
    return wanted


@pytest.mark.parametrize("construction", NAMES)
def test_the_kernel_accounts_for_a_construction_as_the_session_does(construction: Construction, bars: pl.DataFrame) -> None:
    """Every fill in lots and ticks, every refusal, equity at every close; and the construction does trade, in pieces of a share."""
    setup = setup_for(construction)
    panel = Panel.from_frame(bars)

    told = backtest(StoredFeed(bars), setup)
    played = simulate(panel, exposures_of(told, panel), setup.trading.costs, setup.risk, instruments=setup.instruments, trading=setup.trading)

    assert agreement(told, played, dict(setup.instruments)).startswith(f"{len(told.fills)} fills equal, equity within ")
    assert len(told.fills) > 30
    assert construction is Construction.BAND or any(abs(target.exposure) % 1 for target in told.targets)


@pytest.mark.parametrize("construction", [Construction.GARLEANU_PEDERSEN, Construction.ENSEMBLE])
def test_a_construction_started_again_in_the_middle_goes_on_as_if_it_had_not_ended(construction: Construction, bars: pl.DataFrame, tmp_path: Path) -> None:
    """Covariances, its own last weights and what each member wanted are found again, to the last hash."""
    setup, parts = setup_for(construction), []
    middles = [START + timedelta(hours=hour) for hour in (150, 190, N_BARS)]

    whole = backtest(StoredFeed(bars), setup)
    for until in middles:
        with Chain(tmp_path / "journal.sqlite", sync=False) as chain:
            parts.append(backtest(StoredFeed(bars.filter(pl.col("open_time") < until)), setup, chain))

    assert whole.target_hashes == sum((part.target_hashes for part in parts), ())
    assert whole.decision_hashes == sum((part.decision_hashes for part in parts), ())
    assert len(parts[1].fills) > 0


def test_what_members_earn_adds_up_to_what_the_account_wanted(bars: pl.DataFrame) -> None:
    """The journal keeps each member's part of every exposure: price moves times parts, added over members, are those of the net."""
    steps: list[Step] = []
    setup = setup_for(Construction.ENSEMBLE, shares=(0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1))

    backtest(StoredFeed(bars), setup, on_step=steps.append)
    earned = dict.fromkeys(["net", *(member.value for member in setup.trading.policy.members)], 0.0)
    for before, after in pairwise(steps):
        for symbol in SYMBOLS:
            move = after.closes.get(symbol, np.nan) / before.closes.get(symbol, np.nan) - 1
            for name in earned if before.exposures[symbol] else ():
                earned[name] += move * before.exposures[symbol if name == "net" else f"{symbol}|{name}"]

    assert len({round(value, 9) for value in earned.values()}) == len(earned)
    assert abs(earned.pop("net") - sum(earned.values())) < 1e-9


def test_a_run_of_a_construction_is_replayed_as_it_was(bars: pl.DataFrame, tmp_path: Path) -> None:
    """Out of its recording, with the model that traded and without any: the settings in it say which strategy it was."""
    setup = setup_for(Construction.ENSEMBLE)
    with Chain(tmp_path / "run.sqlite", sync=False) as chain:
        traded = backtest(StoredFeed(bars), setup, chain)
    with Chain(tmp_path / "flat.sqlite", sync=False) as chain:
        backtest(StoredFeed(bars), replace(setup, forecaster=None), chain)
    run = read_run(tmp_path / "run.sqlite")

    replayed = replay(run, setup_of(run, house_strategy(setup.trading), Momentum()), Mode.PAPER)
    rebuilt = replay_run(str(tmp_path / "flat.sqlite"), Mode.BACKTEST, OperationsSettings(var=tmp_path))

    assert (None, traded.bars) == (replayed.divergence, replayed.steps)
    assert (None, traded.bars) == (rebuilt.divergence, rebuilt.steps)
