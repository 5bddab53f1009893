"""What a backtest was put to is kept whole: the report reads back what was written, undefined figures and times included."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.robustness import DELAYS, SIZES, Case
from desk.backtest.thresholds import ENTRIES, EXITS
from desk.backtest.worlds import noise, panels
from desk.events import Forecast
from tasks.robustness import Beyond, read_robustness, write_robustness


def _said(case: Case) -> dict[tuple[str, datetime], Forecast]:
    """Forecasts that the house's thresholds turn into the case's exposures."""
    moments = [moment.replace(tzinfo=UTC) for moment in case.bars.closed_at.astype(datetime)]
    return {
        (symbol, moment): Forecast(symbol, moment, 0.01 * case.targets[row, column] - 0.005, 0.01, "made up")
        for row, moment in enumerate(moments)
        for column, symbol in enumerate(case.bars.symbols)
    }


def _kept(folder: Path, targets: np.ndarray) -> Case:
    (bars,) = panels(noise(0.01)["clusters"], len(targets), symbols=("A/USDT", "B/USDT"), n_panels=1, seed=3)
    case = Case(bars, targets, CostSettings(), RiskSettings(), TradingSettings())
    write_robustness(case, Beyond(None, _said(case), lambda scenario: np.zeros_like(scenario.case.targets)), folder)
    return case


def test_the_report_reads_what_the_backtest_wrote(tmp_path: Path) -> None:
    targets = np.repeat(np.random.default_rng(1).integers(0, 2, (60, 2)), 10, axis=0).astype(np.float64)

    case = _kept(tmp_path, targets)
    found = read_robustness(tmp_path)

    sized, judged = found.plateaus
    assert len(SIZES) * len(DELAYS) == len(sized.rows)
    assert len(ENTRIES) * len(EXITS) == len(judged.rows)
    for each in found.plateaus:
        assert 0.0 <= each.near_best <= 1.0
        assert [case.result.measures["sharpe"]] == [row.sharpe for row in each.rows if (row.down, row.across) == each.tested]
    assert ["bars", "trades"] == [each.pieces for each in found.resamples]
    assert datetime(2020, 1, 1, 1, tzinfo=UTC) == found.resamples[0].times[0]
    assert case.result.measures["total_return"] == found.stresses[0].total_return
    assert math.isclose(case.result.measures["total_return"], found.resamples[0].rows[0].happened, rel_tol=1e-9)
    assert math.isclose(case.result.measures["max_drawdown"], found.resamples[0].rows[1].happened, rel_tol=1e-9)
    assert ["flash crash", "flash crash, answered", "outage", "outage, answered", "halt", "halt, answered"] == [each.name for each in found.scenarios]
    assert 5 == len(found.placebo)


def test_a_case_that_never_trades_is_told_without_figures(tmp_path: Path) -> None:
    _kept(tmp_path, np.zeros((200, 2)))

    found = read_robustness(tmp_path)

    assert math.isnan(found.plateaus[0].near_best)
    assert math.isnan(found.stresses[0].sharpe)
    assert ["bars"] == [each.pieces for each in found.resamples]
    assert [] == found.scenarios
    assert asdict(found)["placebo"][0]["total_return"] == 0.0
