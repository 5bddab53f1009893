"""Funding at rates that change with every settlement: session and kernel charge the same, and a replay charges it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.operations import OperationsSettings
from configs.vocabulary import Mode, Timeframe
from desk.backtest.kernel import simulate
from desk.backtest.result import first_difference
from desk.chain import Chain
from desk.market.funding import laid_along, rates_due
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import SessionResult
from desk.strategy.policy import View
from tasks.backtest import in_kernel_words
from tasks.replay import replay_run
from tests.agreement.test_kernel_equals_session import Case, PlaysExposures, more, synthetic

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

SEEDS = range(8)


class Alternates:
    """Long one half of the day, short the other."""

    warmup_bars = 2

    def target(self, view: View) -> float:
        return 0.5 if view.closed_at.hour < 12 else -0.5


def rates_of(case: Case, seed: int) -> pl.DataFrame:
    """Settled every four hours, at rates of either sign."""
    random = np.random.default_rng(seed)
    times = [moment.replace(tzinfo=UTC) for moment in case.panel.closed_at.astype(datetime) if moment.hour % 4 == 0]
    rows = [(symbol, "1h", moment, float(random.normal(0, 0.002))) for symbol in case.panel.symbols for moment in times]
    return pl.DataFrame(rows, schema={"symbol": pl.String, "timeframe": pl.String, "open_time": pl.Datetime("us", "UTC"), "rate": pl.Float64}, orient="row")


def traded(case: Case, due: dict[tuple[str, datetime], float]) -> SessionResult:
    closes = [moment.replace(tzinfo=UTC) for moment in case.panel.closed_at.astype(datetime)]
    wanted = {(symbol, moment): float(case.exposures[row, column]) for row, moment in enumerate(closes) for column, symbol in enumerate(case.panel.symbols)}
    setup = Setup("agreement", "settings", case.instruments, PlaysExposures(wanted), case.trading, case.risk, funding=due)
    return backtest(StoredFeed(case.bars), setup)


@pytest.mark.parametrize("seed", SEEDS)
def test_session_and_kernel_pay_the_same_rates(seed: int) -> None:
    case = more(seed, synthetic(seed), contracts=True)
    due = rates_due(rates_of(case, seed), Timeframe.H1)

    told = traded(case, due)
    laid = laid_along(due, case.panel.closed_at, case.panel.symbols)
    played = simulate(case.panel, case.exposures, case.trading.costs, case.risk, instruments=case.instruments, trading=case.trading, funding=laid)

    assert first_difference(in_kernel_words(told, case.instruments), played) is None
    paid = sum((fill.fee for fill in told.fills if not fill.quantity), Decimal(0))
    assert float(paid) == pytest.approx(played.costs["funding"], abs=1e-9)


def test_these_rates_matter() -> None:
    """Somebody pays, somebody receives, and it is not what the settings' rate would have been."""
    paid = []
    for seed in SEEDS:
        case = more(seed, synthetic(seed), contracts=True)
        laid = laid_along(rates_due(rates_of(case, seed), Timeframe.H1), case.panel.closed_at, case.panel.symbols)
        known, constant = (
            simulate(case.panel, case.exposures, case.trading.costs, case.risk, instruments=case.instruments, trading=case.trading, funding=funding)
            for funding in (laid, None)
        )
        paid.append(known.costs["funding"])
        assert first_difference(known, constant) is not None

    assert min(paid) < 0 < max(paid)


def test_a_recorded_run_is_replayed_at_the_rates_it_paid(tmp_path: Path) -> None:
    """Without them the replay's equity would part at the first settlement."""
    case = synthetic(2)
    case = more(2, case, contracts=True)
    case = replace(case, trading=case.trading.model_copy(update={"protective_stop": 0.0, "trailing_stop": 0.0, "take_profit": 0.0}))
    due = rates_due(rates_of(case, 2), Timeframe.H1)
    setup = Setup("funded", "settings", case.instruments, Alternates(), case.trading, case.risk, funding=due)
    with Chain(tmp_path / "funded.sqlite", sync=False) as chain:
        told = backtest(StoredFeed(case.bars), setup, chain)

    replayed = replay_run(str(tmp_path / "funded.sqlite"), Mode.BACKTEST, OperationsSettings(var=tmp_path), Alternates())

    assert any(not fill.quantity for fill in told.fills)
    assert (None, len(told.equity)) == (replayed.divergence, replayed.steps)
