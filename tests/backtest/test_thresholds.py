"""Other thresholds on the same forecasts: the tested ones give back what was tested, stricter ones hold less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, PolicySettings, TradingSettings
from configs.vocabulary import Construction
from desk.backtest.panel import Panel
from desk.backtest.robustness import Case
from desk.backtest.thresholds import Forecasts, Heard, grid, redecided, thresholds
from desk.errors import BookMismatch
from desk.events import Forecast
from desk.strategy.band import BandPolicy

Market = Callable[[int, int, int], Panel]


class _Oracle:
    """Says the number of the bar's hour, to more digits than a session keeps."""

    lookback_bars = 3

    def forecast(self, symbol: str, closed_at: datetime, window: np.ndarray) -> tuple[float, float]:
        return closed_at.hour * 0.01 + 1.23e-8, 0.05

    def name_at(self, closed_at: datetime) -> str:
        return "oracle"


def _forecasts(bars: Panel, seed: int) -> Forecasts:
    chance = np.random.default_rng(seed)
    moments = [moment.replace(tzinfo=UTC) for moment in bars.closed_at.astype(datetime)]
    return {(symbol, moment): Forecast(symbol, moment, chance.normal(0.0, 0.004), 0.01, "made up") for moment in moments for symbol in bars.symbols}


def _case(bars: Panel, forecasts: Forecasts, limits: RiskSettings, policy: PolicySettings) -> Case:
    return Case(bars, redecided(forecasts, bars, BandPolicy(policy)), CostSettings(), limits, TradingSettings(policy=policy))


def test_the_tested_thresholds_are_among_those_tried_and_give_what_was_tested(market: Market, open_limits: RiskSettings) -> None:
    bars, policy = market(3, 300, 2), PolicySettings(entry=0.3, exit=-0.1)
    case = _case(bars, _forecasts(bars, 1), open_limits, policy)

    found = thresholds(case, _forecasts(bars, 1))

    assert found is not None
    tested = [row for row in found.iter_rows(named=True) if (row["exit"], row["entry"]) == (-0.1, 0.3)]
    assert [case.result.measures["sharpe"]] == [row["sharpe"] for row in tested]
    assert 15 == found.height


def test_a_higher_entry_is_never_long_where_a_lower_one_is_not(market: Market) -> None:
    bars = market(3, 300, 2)
    said = _forecasts(bars, 2)

    lax, strict = (redecided(said, bars, BandPolicy(PolicySettings(entry=entry))) for entry in (0.1, 0.6))

    assert (strict <= lax).all()
    assert strict.sum() < lax.sum()


def test_where_there_is_no_bar_nothing_is_decided_and_without_a_forecast_it_is_flat(market: Market) -> None:
    bars = market(3, 30, 2)
    close = bars.close.copy()
    close[7, 0] = np.nan

    decided = redecided({}, replace(bars, close=close), BandPolicy(PolicySettings()))

    assert [[7, 0]] == np.argwhere(np.isnan(decided)).tolist()
    assert 0.0 == np.nansum(np.abs(decided))


def test_exposures_that_the_forecasts_do_not_give_are_not_mapped(market: Market, open_limits: RiskSettings) -> None:
    bars = market(3, 60, 2)
    case = _case(bars, _forecasts(bars, 1), open_limits, PolicySettings())

    with pytest.raises(BookMismatch, match="do not trust the map"):
        thresholds(replace(case, targets=1.0 - case.targets), _forecasts(bars, 1))


def test_a_construction_has_no_thresholds(market: Market, open_limits: RiskSettings) -> None:
    bars = market(3, 60, 2)
    case = _case(bars, {}, open_limits, PolicySettings())

    assert thresholds(replace(case, trading=TradingSettings(policy=PolicySettings(construction=Construction.RISK_PARITY))), {}) is None


def test_thresholds_are_tried_once_each() -> None:
    """Without an entry every factor of it is the same."""
    assert {"exit": [0.1], "entry": [0.0]} == grid(PolicySettings(entry=0.0, exit=0.1))


def test_what_is_heard_is_what_a_policy_sees() -> None:
    """The other answers unchanged; kept is what the session rounds it to."""
    heard, moment = Heard(_Oracle()), datetime(2024, 1, 1, 7, tzinfo=UTC)

    assert (0.07 + 1.23e-8, 0.05) == heard.forecast("BTC/USDT", moment, np.zeros((3, 1), dtype=np.float32))
    assert {("BTC/USDT", moment): Forecast("BTC/USDT", moment, 0.07, 0.05, "oracle")} == heard.forecasts
    assert (3, "oracle") == (heard.lookback_bars, heard.name_at(moment))
