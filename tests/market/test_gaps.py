"""Gaps: every hole is found with its length, none is invented, none is filled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.market.archive_source import read_candles
from desk.market.gaps import find_gaps, summary

MakeHours = Callable[..., pl.DataFrame]


def test_a_hole_is_named_by_the_bars_around_it(make_hours: MakeHours) -> None:
    bars = pl.concat([make_hours(0, 3), make_hours(5, 8)])

    gaps = find_gaps(bars)

    assert [("BTC/USDT", datetime(2024, 1, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, 5, tzinfo=UTC), 2)] == gaps.rows()
    assert "1 gap, 2 bars missing; the longest: 2 bars, BTC/USDT 2024-01-01 02:00 to 2024-01-01 05:00 UTC" == summary(gaps)


def test_a_symbol_listed_later_or_delisted_earlier_has_no_gap(make_hours: MakeHours) -> None:
    bars = pl.concat([make_hours(0, 10, ("A/B",)), make_hours(4, 6, ("C/D",))])

    assert find_gaps(bars).is_empty()
    assert "no gaps" == summary(find_gaps(bars))


@given(kept=st.sets(st.integers(0, 40), min_size=1))
def test_bars_present_and_bars_missing_make_up_the_whole_span(make_hours: MakeHours, kept: set[int]) -> None:
    """Counting independently: span of the grid == rows + missing."""
    bars = make_hours(0, 41).filter(pl.int_range(pl.len()).is_in(sorted(kept)))

    missing = find_gaps(bars)["missing_bars"].sum()

    assert max(kept) - min(kept) + 1 == len(kept) + missing


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("binance_spot_1h_btc_2017_2024-04", 1),
        ("binance_spot_1h_15coins_2017_2022-10", 1),
        ("bitfinex_spot_30m_2017-10_2019-05", 1),
        ("bitfinex_spot_1m_2018-10_2019-04", 10),  # the list keeps only the long ones of this file
        ("binance_spot_5m_2024h1", 1),
        ("binance_um_4h_30perps_2020_2024-06", 1),
    ],
)
def test_the_known_gaps_of_real_candles_are_found_and_no_others(real_data: Path, name: str, least: int) -> None:
    known = pl.read_csv(real_data / "defects" / "known_gaps.csv").filter(pl.col("file") == f"{name}.parquet")
    expected = known.select("symbol", "last_bar_before", "first_bar_after", "missing_bars").sort("symbol", "last_bar_before").rows()

    gaps = find_gaps(read_candles(real_data / "candles" / f"{name}.parquet")).filter(pl.col("missing_bars") >= least)

    times = [pl.col(side).dt.strftime("%Y-%m-%d %H:%M") for side in ("after", "before")]
    assert expected == gaps.select("symbol", *times, "missing_bars").rows()
