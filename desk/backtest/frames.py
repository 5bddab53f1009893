"""The frames of a result, column by column."""

from __future__ import annotations

import polars as pl

_UTC: pl.DataType = pl.Datetime("us", "UTC")
FILLS = pl.Schema(
    {
        "time": _UTC,
        "symbol": pl.String(),
        "side": pl.String(),
        "lots": pl.Int64(),
        "ticks": pl.Int64(),
        "quantity": pl.Float64(),
        "price": pl.Float64(),
        "fee": pl.Float64(),
    }
)
REFUSALS = pl.Schema({"time": _UTC, "symbol": pl.String(), "guard": pl.String(), "reason": pl.String()})
