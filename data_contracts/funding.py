"""What a frame of funding rates must look like: one row per contract and settlement, `open_time` being the instant of it.

Venues settle on the hour, whatever the hours between two settlements are, so the `timeframe` of every row is 1h.
"""

from __future__ import annotations

import polars as pl

from configs.vocabulary import Timeframe
from data_contracts.bars import TIME, key_rules
from data_contracts.gate import Contract, Rule

# No venue's cap comes near it: beyond lies a rate in percent, or of a year.
LARGEST_RATE = 0.1
FUNDING_COLUMNS: dict[str, pl.DataType] = {"symbol": pl.String(), "timeframe": pl.String(), "open_time": TIME, "rate": pl.Float64()}

CONTRACT = Contract(
    "funding",
    FUNDING_COLUMNS,
    (
        *key_rules(),
        Rule("settled_hourly", ("timeframe",), pl.col("timeframe") == Timeframe.H1.value, "timeframe 1h", "State the instant of settlement, on the hour."),
        Rule(
            "rate_possible",
            ("rate",),
            pl.col("rate").is_nan() | (pl.col("rate").abs() < LARGEST_RATE),
            f"a rate within {LARGEST_RATE} of the position's value",
            "Rates are fractions of one settlement, not percent and not annual.",
        ),
    ),
)
