"""The contract of forecasts: a finite mean, an sd above zero."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from data_contracts.forecasts import CONTRACT
from data_contracts.gate import Admitted, Quarantined, admit

MakeBars = Callable[..., pl.DataFrame]


def forecasts_of(bars: pl.DataFrame, mean: float = 0.001, sd: float = 0.01) -> pl.DataFrame:
    """The same forecast for every bar."""
    return bars.select("symbol", "timeframe", "open_time", pl.lit(mean).alias("mean"), pl.lit(sd).alias("sd"))


def test_finite_means_with_positive_spreads_are_admitted(make_bars: MakeBars) -> None:
    assert isinstance(admit(forecasts_of(make_bars()), CONTRACT), Admitted)


@pytest.mark.parametrize(
    ("mean", "sd", "check"),
    [
        (float("nan"), 0.01, "present"),
        (float("inf"), 0.01, "mean_finite"),
        (0.0, 0.0, "sd_positive"),
        (0.0, -0.1, "sd_positive"),
        (0.0, float("inf"), "sd_positive"),
        (0.0, float("nan"), "present"),
    ],
)
def test_a_forecast_without_an_opinion_or_a_spread_is_refused(make_bars: MakeBars, mean: float, sd: float, check: str) -> None:
    answer = admit(forecasts_of(make_bars(), mean, sd), CONTRACT)

    assert isinstance(answer, Quarantined)
    assert {check} == set(answer.cases["check"])
