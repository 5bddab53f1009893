"""Bad days take from a book what arithmetic says, and nothing before they begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.panel import Panel
from desk.backtest.robustness import Case
from desk.backtest.scenarios import flash_crash, gross_positions, halt, outage, scenarios, toll, worst_moment
from desk.market.archive_source import read_candles

FREE = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0, participation_cap=1.0)
SYMBOLS = ("A/USDT", "B/USDT")


def _still(n_rows: int, start: str = "2024-01-01") -> Panel:
    """Prices that never move, and volume for everybody."""
    times = np.datetime64(start, "us") + np.arange(n_rows) * np.timedelta64(1, "h")
    prices = np.full((n_rows, 2), 100.0)
    return Panel(times, SYMBOLS, prices, prices, prices, prices, np.full((n_rows, 2), 1e9))


def _held(bars: Panel, limits: RiskSettings, *, at: int = 5) -> Case:
    """Half of the book in each symbol from one bar on, never touched again."""
    targets = np.full(bars.close.shape, np.nan)
    targets[at] = 1.0
    return Case(bars, targets, FREE, limits, TradingSettings())


def test_a_held_book_loses_what_the_market_loses(open_limits: RiskSettings) -> None:
    """95 % held: half of it at the bottom of a crash, a quarter in the end; a fifth after an outage; a quarter when half of the book halves."""
    found = {each.name: toll(each) for each in scenarios(_held(_still(200), open_limits), None)}

    assert ["flash crash", "outage", "halt"] == list(found)
    assert pytest.approx((0.95, 0.475, 0.2375)) == (found["flash crash"].exposure, found["flash crash"].worst_loss, found["flash crash"].final_loss)
    assert pytest.approx((0.95, 0.19, 0.19)) == (found["outage"].exposure, found["outage"].worst_loss, found["outage"].final_loss)
    assert pytest.approx((0.95, 0.2375, 0.2375)) == (found["halt"].exposure, found["halt"].worst_loss, found["halt"].final_loss)
    assert math.isclose(1 / 0.95, found["flash crash"].worst_margin)


def test_a_short_book_gains_by_a_crash_and_its_margin_only_grows(open_limits: RiskSettings) -> None:
    """1.8 times the equity sold: a quarter of that is won in the end; least is behind the positions before it begins."""
    bars = _still(200)
    case = Case(bars, -_held(bars, open_limits).targets, FREE, open_limits, TradingSettings(gross_weight=1.8))

    crash = next(toll(each) for each in scenarios(case, None))

    assert pytest.approx((1.8, 0.0, -0.45)) == (crash.exposure, crash.worst_loss, crash.final_loss)
    assert math.isclose(1 / 1.8, crash.worst_margin)


def test_a_guard_that_stops_buying_into_a_crash_is_told() -> None:
    """A book that is to stay fully invested must buy while it falls: once a third is lost, it may not."""
    bars = _still(200)
    case = Case(bars, np.ones_like(bars.close), FREE, RiskSettings(max_position_weight=1.0), TradingSettings(rebalance_band=0.0))

    crash = next(toll(each) for each in scenarios(case, None))

    assert {"drawdown"} <= set(crash.refused)
    assert crash.refused["drawdown"] > 0


def test_nothing_held_loses_nothing_and_has_no_worst_moment(open_limits: RiskSettings) -> None:
    bars = _still(24 * 40, "2020-03-01")
    flat = Case(bars, np.zeros_like(bars.close), FREE, open_limits, TradingSettings())

    (each,) = map(toll, scenarios(flat, bars))

    assert ("2020-03-12", 0.0, 0.0, 0.0, {}) == (each.name, each.exposure, each.worst_loss, each.final_loss, each.refused)
    assert math.isnan(each.worst_margin)
    assert [] == list(scenarios(flat, None))


def test_a_flash_crash_leaves_whole_bars(market: Callable[[int, int, int], Panel]) -> None:
    bars = market(3, 100, 2)
    crashed = flash_crash(bars, 40)

    np.testing.assert_array_equal(bars.close[:40], crashed.close[:40])
    np.testing.assert_allclose(bars.close[42] * 0.5, crashed.close[42])
    np.testing.assert_allclose(bars.close[48:] * 0.75, crashed.close[48:])
    np.testing.assert_allclose(bars.volume[40:43] / 10, crashed.volume[40:43])
    assert (crashed.low <= np.minimum(crashed.open, crashed.close)).all()
    assert (crashed.high >= np.maximum(crashed.open, crashed.close)).all()


def test_an_outage_silences_everything_and_a_halt_one_symbol() -> None:
    bars = _still(100)

    silent, halted = outage(bars, 50), halt(bars, 50, 1)

    assert np.isnan(silent.close[50:62]).all()
    assert np.isfinite(silent.close[[49, 62]]).all()
    np.testing.assert_allclose(80.0, silent.open[62:])
    assert np.isfinite(halted.close[:, 0]).all()
    assert np.isnan(halted.close[50:74, 1]).all()
    np.testing.assert_allclose([100.0, 50.0], halted.close[-1])


def test_made_up_days_begin_where_most_is_held(open_limits: RiskSettings) -> None:
    bars = _still(300)
    targets = np.full(bars.close.shape, 0.2)
    targets[100:110, 1] = 1.0

    row, column = worst_moment(Case(bars, targets, FREE, open_limits, TradingSettings()))

    assert (102, 1) == (row, column)


def test_made_up_days_begin_where_there_is_room_to_watch_what_follows(open_limits: RiskSettings) -> None:
    """Most is held at the very end, where three days more do not fit: the next best moment with room is taken."""
    bars = _still(300)
    targets = np.full(bars.close.shape, 0.2)
    targets[50:60, 0], targets[290:, 1] = 0.6, 1.0

    case = Case(bars, targets, FREE, open_limits, TradingSettings())

    assert (52, 0) == worst_moment(case)
    assert {52 + 72} == {each.ends for each in scenarios(case, None)}


def test_what_a_model_answers_counts_from_the_first_bar_that_is_another(open_limits: RiskSettings) -> None:
    """At that bar's close it is seen; before it nothing could be known."""
    held = _held(_still(200), open_limits)
    crash = next(scenarios(held, None))

    answered = crash.answered(np.full(held.targets.shape, 0.25)).case.targets

    np.testing.assert_array_equal(held.targets[: crash.begins], answered[: crash.begins])
    assert {0.25} == set(answered[crash.begins :].ravel().tolist())


def test_a_rule_on_a_recorded_day_knows_the_closes_before_its_week(open_limits: RiskSettings) -> None:
    """A limit on what the book may lose in a bar refuses what it does not know: with a past it knows from the first bar on."""
    limits = open_limits.model_copy(update={"max_expected_shortfall": 0.5, "covariance_bars": 48})
    later = _held(_still(24 * 10, "2020-04-01"), limits)

    ruled = next(each for each in scenarios(later, _still(24 * 40, "2020-03-01")) if each.name == "2020-03-12")

    assert ruled.case.result.refusals.is_empty()


def test_a_symbol_without_a_bar_counts_at_its_last_close(open_limits: RiskSettings) -> None:
    case = _held(_still(100), open_limits)
    silent = outage(case.bars, 50)

    gross = gross_positions(silent, Case(silent, case.targets, FREE, open_limits, TradingSettings()).result)

    np.testing.assert_allclose(gross[49], gross[50:62])
    np.testing.assert_allclose(0.8 * gross[49], gross[62:])


def test_recorded_days_are_played_by_the_model_where_it_was_tested_and_by_a_rule_before(open_limits: RiskSettings) -> None:
    tested = _held(_still(24 * 40, "2020-03-01"), open_limits)
    later = _held(_still(24 * 10, "2020-04-01"), open_limits)

    own = {each.name: each.said for each in scenarios(tested, tested.bars)}
    ruled = {each.name: each for each in scenarios(later, tested.bars)}
    synthetic = [each.name for each in scenarios(tested, None)]

    assert "the recorded bars, with the model's own exposures" == own["2020-03-12"]
    assert "fully invested" in ruled["2020-03-12"].said
    assert pytest.approx(0.95) == toll(ruled["2020-03-12"]).exposure
    assert "2020-03-12" not in synthetic
    assert "2021-05-19" not in own


@pytest.mark.parametrize(("day", "fall"), [("2020-03-12", 0.35), ("2021-05-19", 0.17)])
def test_the_days_of_the_crashes_take_what_the_recorded_closes_say(real_data: Path, open_limits: RiskSettings, day: str, fall: float) -> None:
    """A book kept 95 % invested, for nothing: near 95 % of the fall of the closes, computed here from the file itself."""
    frame = read_candles([real_data / "candles" / "binance_spot_1h_btc_2017_2024-04.parquet"])
    begins = datetime.fromisoformat(day).replace(tzinfo=UTC)
    closes = frame.filter(pl.col("open_time").is_between(begins - timedelta(hours=1), begins + timedelta(days=3), closed="left"))["close"].to_numpy()
    recorded = Panel.from_frame(frame)
    later = recorded.times >= np.datetime64("2023-01-01")
    columns = {name: getattr(recorded, name)[later] for name in ("times", "open", "high", "low", "close", "volume")}
    tested = replace(recorded, **columns)
    case = Case(tested, np.zeros_like(tested.close), FREE, open_limits, TradingSettings(initial_cash=Decimal(1000)))

    found = {each.name: toll(each) for each in scenarios(case, recorded)}[day]

    told = 1 - closes[1:].min() / closes[0]
    assert told > fall
    assert math.isclose(0.95 * told, found.worst_loss, rel_tol=0.05)
