"""The batch suite: a healthy batch passes, each way in which a batch can be ill is named, and nothing leaves the machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from data_contracts.expectations import SuiteResult, audit

MakeBars = Callable[..., pl.DataFrame]
COUNT = 400
NOW = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=COUNT)

pytestmark = pytest.mark.timeout(60)  # the first run imports the library


@pytest.fixture
def bars(make_bars: MakeBars) -> pl.DataFrame:
    """Two symbols, 400 hours, closed exactly now."""
    return make_bars(COUNT)


def complaints(result: SuiteResult) -> list[str]:
    """What failed, up to what was expected."""
    assert result.success == (not result.failures)
    return [failure.partition(": expected ")[2].partition(" to be ")[0] for failure in result.failures]


def test_a_healthy_batch_passes_and_its_statistics_are_the_textbook_ones(bars: pl.DataFrame) -> None:
    result = audit(bars, as_of=NOW)

    closes = bars.filter(pl.col("symbol") == "BTC/USDT")["close"].to_numpy()
    returns = np.tile(np.diff(np.log(closes)), 2)
    turnover = np.log1p(bars["close"].to_numpy() * bars["volume"].to_numpy())
    assert result.success
    assert 2 * COUNT == result.statistics["rows"]
    assert 0.0 == result.statistics["age_bars"]
    assert pytest.approx(returns.std(ddof=1), rel=1e-12) == result.statistics["return_sd"]
    assert pytest.approx(turnover.mean(), rel=1e-12) == result.statistics["turnover_mean"]


def test_the_same_batch_does_not_drift_from_itself(bars: pl.DataFrame) -> None:
    first = audit(bars, as_of=NOW)

    assert audit(bars, as_of=NOW, previous=first.statistics).success


def test_a_symbol_that_stopped_is_stale_even_when_the_others_go_on(bars: pl.DataFrame) -> None:
    stopped = bars.filter((pl.col("symbol") == "BTC/USDT") | (pl.col("open_time") < NOW - timedelta(hours=10)))

    result = audit(stopped, as_of=NOW)

    assert ["bars since the last close, worst symbol ETH/USDT"] == complaints(result)
    assert result.failures[0].endswith("to be at most 3, found 10")


def test_a_bar_from_the_future_fails(bars: pl.DataFrame) -> None:
    assert ["bars since the last close, none from the future"] == complaints(audit(bars, as_of=NOW - timedelta(hours=1)))


def test_a_symbol_with_holes_is_incomplete(bars: pl.DataFrame) -> None:
    holes = bars.filter((pl.col("symbol") == "BTC/USDT") | (pl.col("open_time").dt.hour() % 8 != 3))

    result = audit(holes, as_of=NOW)

    assert ["share of bars present, worst symbol ETH/USDT"] == complaints(result)


def test_shrinking_and_losing_a_symbol_are_seen_against_the_batch_before(bars: pl.DataFrame) -> None:
    before = audit(bars, as_of=NOW).statistics

    result = audit(bars.filter(pl.col("symbol") == "BTC/USDT"), as_of=NOW, previous=before)

    assert ["rows of the table", "symbols, none lost since the batch before"] == complaints(result)
    assert [True, True] == [failure.endswith(found) for failure, found in zip(result.failures, ("found 400", "found 1"), strict=True)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (pl.col("close") * (1 + 0.5 * (pl.int_range(pl.len()) % 2)), "spread of log returns against the batch before"),
        (pl.col("volume") * 1e6, "mean log turnover against the batch before"),
    ],
)
def test_prices_or_volumes_of_another_kind_are_drift(bars: pl.DataFrame, change: pl.Expr, complaint: str) -> None:
    before = audit(bars, as_of=NOW).statistics

    assert complaint in complaints(audit(bars.with_columns(change), as_of=NOW, previous=before))


def test_one_bar_is_judged_without_undefined_numbers(bars: pl.DataFrame) -> None:
    result = audit(bars.tail(1), as_of=NOW)

    assert result == SuiteResult.model_validate(json.loads(result.to_json()))
    assert "return_sd" not in result.statistics


def test_thirty_thousand_rows_take_less_than_two_seconds(make_bars: MakeBars, bars: pl.DataFrame) -> None:
    """Of the processor: what other programs take of it is not ours."""
    large = make_bars(15_000)
    audit(bars, as_of=NOW)

    started = time.process_time()
    audit(large, as_of=NOW)

    assert time.process_time() - started < 2
