"""What a frame of forecasts must look like before the desk may act on it."""

from __future__ import annotations

import polars as pl

from data_contracts.bars import TIME, key_rules
from data_contracts.gate import Contract, Rule

FORECAST_COLUMNS: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "timeframe": pl.String(),
    "open_time": TIME,
    "mean": pl.Float64(),
    "sd": pl.Float64(),
}
_ADVICE = "Do not trade on it: look at the model and at the features it was given."

# One row per bar: mean and sd of the log return over the horizon that begins at the bar's close, fractions.
CONTRACT = Contract(
    "forecasts",
    FORECAST_COLUMNS,
    (
        *key_rules(),
        Rule("mean_finite", ("mean",), ~pl.col("mean").is_infinite(), "a finite mean", _ADVICE),
        Rule("sd_positive", ("sd",), ~pl.col("sd").is_infinite() & (pl.col("sd") > 0), "a finite sd above 0", _ADVICE),
    ),
)
