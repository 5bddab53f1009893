from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from configs.trading import CostSettings
from desk.backtest.charges import charges, trailing_volume

START = datetime(2024, 1, 1, tzinfo=UTC)
TIERS = CostSettings(fee_rate=0.001, fee_tiers=[{"volume": 1000.0, "taker": 0.0005}], borrow_rate=0.1)


def fills(days: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"time": [START + timedelta(days=day) for day in days], "quantity": ["6"] * len(days), "price": ["100"] * len(days)})


def test_volume_of_the_last_thirty_days_earns_the_tier_and_older_volume_does_not() -> None:
    """600 each on days 0, 1, 2 and 40: nothing, 600, 1,200 and nothing before them; only the third pays half."""
    owed = charges(fills([0, 1, 2, 40]), np.zeros((1, 1)), TIERS, 365)

    assert pytest.approx(3 * 0.6 + 0.3) == owed.tier_fees
    assert 1200.0 == owed.traded_30d


def test_what_the_account_said_it_trades_earns_these_fills_nothing() -> None:
    """They are asked what they would have earned alone; the tier that was said is what they were charged."""
    said = TIERS.model_copy(update={"volume_30d": 1e9})

    assert charges(fills([0, 1, 2, 40]), np.zeros((1, 1)), TIERS, 365) == charges(fills([0, 1, 2, 40]), np.zeros((1, 1)), said, 365)


def test_fills_of_one_moment_do_not_count_before_each_other() -> None:
    times = np.array(["2024-01-01", "2024-01-01", "2024-01-02"], dtype="datetime64[us]")

    assert [0.0, 0.0, 30.0] == trailing_volume(times, np.array([10.0, 20.0, 40.0])).tolist()


def test_without_tiers_everything_pays_the_one_rate() -> None:
    owed = charges(fills([0, 1, 2]), np.zeros((1, 1)), CostSettings(fee_rate=0.001), 365)

    assert pytest.approx(3 * 0.6) == owed.tier_fees


def test_shorts_pay_interest_and_longs_do_not() -> None:
    """A tenth a year on 365 units short for a day of 365; the unknown costs nothing."""
    owed = charges(
        fills([]).cast({"time": pl.Datetime("us", "UTC"), "quantity": pl.String, "price": pl.String}), np.array([[-365.0, 500.0], [np.nan, 0.0]]), TIERS, 365
    )

    assert pytest.approx(0.1) == owed.borrowed
    assert (0.0, 0.0) == (owed.tier_fees, owed.traded_30d)
