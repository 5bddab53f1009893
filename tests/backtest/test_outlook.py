"""The shortfall limit in the kernel, by hand. That it is the session's own is shown in tests/agreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.errors import ContractBroken

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

LOOSE = {"max_position_weight": 100.0, "max_gross_weight": 100.0, "max_drawdown": 1.0, "max_daily_loss": 1.0}
BARS = 20
START = datetime(2024, 1, 1, tzinfo=UTC)


def swings(size: float, n_rows: int) -> Panel:
    """One coin that goes up by `size` and back: 1 at even rows, 1 + size at odd ones."""
    close = 1 + size * (np.arange(n_rows)[:, None] % 2)
    times = np.datetime64("2024-01-01", "us") + np.arange(n_rows) * np.timedelta64(1, "h")
    return Panel(times, ("BTC/USDT",), close, close, close, close, np.full((n_rows, 1), 1e9))


def refused(bars: Panel, **limits: float) -> list[int]:
    """The rows at which half of the equity could not be bought; wished for at every close, from nothing."""
    settings = RiskSettings.model_validate({**LOOSE, "covariance_bars": BARS, **limits})
    account = TradingSettings(gross_weight=1.0, rebalance_band=0.0)
    targets = np.where(np.arange(len(bars.times)) % 2, 0.0, 0.5)[:, None]
    result = simulate(bars, targets, CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0), settings, trading=account)
    closes = result.refusals["time"].dt.replace_time_zone(None).to_numpy()
    return np.searchsorted(bars.closed_at, closes).tolist()


def test_what_half_the_equity_loses_in_a_bad_bar_is_compared_with_the_limit() -> None:
    """Returns of +5.0 % and -4.8 %: a deviation near 4.9 %, an expected shortfall at .975 of 2.3378 times that, and of half the equity 5.7 %."""
    bars = swings(0.05, 60)

    assert list(range(0, BARS, 2)) == refused(bars, max_expected_shortfall=0.058)
    assert list(range(0, 60, 2)) == refused(bars, max_expected_shortfall=0.056)


def test_a_past_is_known_from_the_first_row_on() -> None:
    whole = swings(0.05, 60)

    assert [] == refused(whole.since(START.replace(hour=22), BARS), max_expected_shortfall=0.058)
    assert [0] == refused(whole.since(START.replace(hour=22), BARS - 1), max_expected_shortfall=0.058)


def test_the_collar_asks_for_the_close_before_the_first_row() -> None:
    whole = swings(0.05, 10)

    assert [2, 4] == refused(whole.since(START.replace(hour=4), 0), price_collar=0.04)
    assert [0, 2, 4] == refused(whole.since(START.replace(hour=4), 1), price_collar=0.04)


def test_rows_that_are_skipped_are_caught_up_with(market: Callable[[int, int, int], Panel]) -> None:
    """One coin that is held for long stretches without an order: what is known at the next one is what a run that never skips knows."""
    bars = market(3, 400, 1)
    targets = np.repeat(np.random.default_rng(3).uniform(0, 1, (10, 1)), 40, axis=0)
    limits = RiskSettings(**LOOSE, max_expected_shortfall=0.012, covariance_bars=BARS)
    account, gap = TradingSettings(gross_weight=1.0, fixed_units=500.0), np.full((1, 1), np.nan)
    walked = replace(
        bars,
        times=np.append(bars.times, bars.times[-1] + np.timedelta64(1, "h")),
        **{name: np.vstack([getattr(bars, name), gap]) for name in ("open", "high", "low", "close", "volume")},
    )

    skips = simulate(bars, targets, CostSettings(), limits, trading=account)
    walks = simulate(walked, np.vstack([targets, gap]), CostSettings(), limits, trading=account)

    assert bars.dense
    assert not walked.dense
    assert skips.refusals.equals(walks.refusals)
    assert skips.fills.equals(walks.fills)
    assert 0 < len(skips.refusals) < 400


def test_a_hedge_is_left_to_the_session() -> None:
    with pytest.raises(ContractBroken, match=r"risk\.hedge_symbol BTC/USDT:USDT"):
        simulate(swings(0.05, 4), np.zeros((4, 1)), CostSettings(), RiskSettings(hedge_symbol="BTC/USDT:USDT"))
