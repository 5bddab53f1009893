"""One batch suite over a clean bars table: what no single row can show. Great Expectations runs it; its data docs are not built.

Row rules live in `bars.py`. Here: enough rows, every symbol fresh and complete, and returns and turnover distributed as in the batch before. This is
the only module that converts to pandas. Great Expectations costs seconds to import, so it is imported when a suite runs, its telemetry off.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime
from numbers import Real
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.vocabulary import Timeframe

# All limits are ours, wide enough that a real crash passes and a broken feed does not.
STALE_BARS = 3  # bars a symbol may lag behind the given instant: one forming, one late, one to spare
LEAST_COMPLETENESS = 0.95  # share of a symbol's own span; the worst of 15 coins over five years of real hours has 0.997
LEAST_ROWS_KEPT = 0.9  # of the rows of the batch before: a clean table grows
RETURN_SD_FACTOR = 3.0  # between batches; quiet and wild years of the same coin differ by less
TURNOVER_SHIFT_SDS = 2.0  # of mean log turnover, in sds of the batch before


class SuiteResult(BaseModel):
    """The record of one audit: keep it as JSON, and hand `statistics` to the next one as `previous`. Failures are sentences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    success: bool
    statistics: dict[str, float]
    failures: tuple[str, ...]

    def to_json(self) -> str:
        """The record as text; it reads back as the same value."""
        return self.model_dump_json(indent=1)


def audit(bars: pl.DataFrame, *, as_of: datetime, previous: Mapping[str, float] | None = None) -> SuiteResult:
    """Judge an admitted bars table as a batch, as seen at `as_of` (aware UTC); without `previous` statistics drift is not judged.

    Statistics: rows, symbols, age_bars and completeness of the worst symbol, return_sd per bar, turnover_mean and turnover_sd of log(1 + close * volume).
    """
    judged = _derived(bars, as_of)
    statistics = _statistics(judged)
    results = _validated(judged, _limits(judged, previous or {}))
    failures = tuple(_failure(result) for result in results if not result.success)
    return SuiteResult(success=not failures, statistics=statistics, failures=failures)


def _derived(bars: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Per row: its symbol's age and completeness, its log return and its log turnover."""
    lengths = {timeframe.value: timeframe.milliseconds * 1000 for timeframe in Timeframe}
    step = pl.col("timeframe").replace_strict(list(lengths), list(lengths.values()), return_dtype=pl.Int64)
    time, last, first = pl.col("open_time"), pl.col("open_time").max().over("symbol"), pl.col("open_time").min().over("symbol")
    expected = (last - first).dt.total_microseconds() // step + 1
    return bars.sort("symbol", "open_time").select(
        "symbol",
        ((pl.lit(as_of) - last).dt.total_microseconds() / step - 1).alias("age_bars"),
        (time.len().over("symbol") / expected).alias("completeness"),
        (pl.col("close") / pl.col("close").shift(1)).log().over("symbol").alias("log_return"),
        (pl.col("close") * pl.col("volume")).log1p().alias("log_turnover"),
    )


def _statistics(judged: pl.DataFrame) -> dict[str, float]:
    row = judged.select(
        pl.len().alias("rows"),
        pl.col("symbol").n_unique().alias("symbols"),
        pl.col("age_bars").max(),
        pl.col("completeness").min(),
        pl.col("log_return").std().alias("return_sd"),
        pl.col("log_turnover").mean().alias("turnover_mean"),
        pl.col("log_turnover").std().alias("turnover_sd"),
    ).row(0, named=True)
    # a single bar has no spread, and JSON has no nan: what is undefined is left out
    return {name: float(value) for name, value in row.items() if value is not None and math.isfinite(value)}


def _limits(judged: pl.DataFrame, previous: Mapping[str, float]) -> list[tuple[str, dict[str, Any]]]:
    """Each expectation as (Great Expectations class, arguments); drift only against statistics the batch before had."""
    oldest = judged.sort("age_bars", "symbol", descending=[True, False]).item(0, "symbol")
    sparsest = judged.sort("completeness", "symbol").item(0, "symbol")
    limits: list[tuple[str, dict[str, Any]]] = [
        ("ExpectTableRowCountToBeBetween", _range("rows of the table", max(1.0, LEAST_ROWS_KEPT * previous.get("rows", 0)))),
        ("ExpectColumnMaxToBeBetween", _range(f"bars since the last close, worst symbol {oldest}", None, STALE_BARS, "age_bars")),
        ("ExpectColumnMinToBeBetween", _range("bars since the last close, none from the future", 0, None, "age_bars")),
        ("ExpectColumnMinToBeBetween", _range(f"share of bars present, worst symbol {sparsest}", LEAST_COMPLETENESS, None, "completeness")),
    ]
    if "symbols" in previous:
        limits.append(("ExpectColumnUniqueValueCountToBeBetween", _range("symbols, none lost since the batch before", previous["symbols"], None, "symbol")))
    if previous.get("return_sd", 0) > 0:
        least, most = previous["return_sd"] / RETURN_SD_FACTOR, previous["return_sd"] * RETURN_SD_FACTOR
        limits.append(("ExpectColumnStdevToBeBetween", _range("spread of log returns against the batch before", least, most, "log_return")))
    if "turnover_mean" in previous and "turnover_sd" in previous:
        reach = TURNOVER_SHIFT_SDS * previous["turnover_sd"]
        least, most = previous["turnover_mean"] - reach, previous["turnover_mean"] + reach
        limits.append(("ExpectColumnMeanToBeBetween", _range("mean log turnover against the batch before", least, most, "log_turnover")))
    return limits


def _range(about: str, least: float | None, most: float | None = None, column: str | None = None) -> dict[str, Any]:
    whole = column in (None, "symbol")
    bounds = {"min_value": None if least is None else (math.ceil(least) if whole else least), "max_value": most}
    return {**bounds, **({"column": column} if column else {}), "meta": {"about": about}}


def _validated(judged: pl.DataFrame, limits: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    # Before the import: it reads the switch once. Nothing may leave the machine.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("clean").add_dataframe_asset("bars")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": judged.to_pandas()})
    expectations = [getattr(great_expectations.expectations, kind)(**arguments) for kind, arguments in limits]
    suite = great_expectations.ExpectationSuite(name="clean-bars", expectations=expectations)
    return list(batch.validate(suite).results)


def _failure(result: Any) -> str:
    """One sentence: which expectation, the allowed range, what was observed."""
    config, observed = result.expectation_config, result.result.get("observed_value")
    least, most = config.kwargs.get("min_value"), config.kwargs.get("max_value")
    bounds = [f"at least {least:.6g}" if least is not None else "", f"at most {most:.6g}" if most is not None else ""]
    allowed = " and ".join(bound for bound in bounds if bound)
    found = f"{observed:.6g}" if isinstance(observed, Real) else "nothing that can be measured"
    return f"{config.type}: expected {config.meta['about']} to be {allowed}, found {found}"
