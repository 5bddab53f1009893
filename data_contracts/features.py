"""What a frame of features must look like once its recipe is known."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from data_contracts.bars import TIME, key_rules
from data_contracts.gate import Contract, Rule


def features_contract(names: Sequence[str], warmup_bars: int) -> Contract:
    """The contract of a features frame: the bar's key, then one Float32 column per name.

    Within the first `warmup_bars` rows of each symbol NaN is allowed, infinity never; after them every value is finite.
    """
    keys: dict[str, pl.DataType] = {"symbol": pl.String(), "timeframe": pl.String(), "open_time": TIME}
    columns = keys | {name: pl.Float32() for name in names}
    warming = pl.int_range(pl.len()).over("symbol") < warmup_bars
    finite = tuple(
        Rule(
            f"{name}_finite",
            (name,),
            pl.col(name).is_finite() | (pl.col(name).is_nan() & warming),
            f"a finite {name} after {warmup_bars} bars of warm-up",
            "Correct the feature, or declare a longer warm-up in its recipe.",
        )
        for name in names
    )
    return Contract("features", columns, (*key_rules(), *finite), nan_allowed=frozenset(names))
