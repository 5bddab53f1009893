"""The table on the market's clock, and what a network may learn from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from desk.errors import ContractBroken
from models.scaling import CLIP_SDS, Scaler
from models.windows import Blocks, Rows, Table, build, learnable

START = datetime(2024, 1, 1, tzinfo=UTC)


def frame(hours_of: dict[str, list[int]], column: str, value: float = 1.0) -> pl.DataFrame:
    """One row per symbol and hour; the value is 100 + hour plus `value`."""
    rows = [(symbol, "1h", START + timedelta(hours=hour), value + 100 + hour) for symbol, hours in sorted(hours_of.items()) for hour in hours]
    schema = {"symbol": pl.String, "timeframe": pl.String, "open_time": pl.Datetime("us", "UTC"), column: pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def small_table(hours_of: dict[str, list[int]], horizon_bars: int = 2) -> Table:
    """A table whose closes and only feature are 101 + hour."""
    return build(frame(hours_of, "f"), frame(hours_of, "close"), horizon_bars)


def test_the_grid_is_the_union_of_all_times_and_holes_stay_holes() -> None:
    table = small_table({"B": [0, 1, 2, 3], "A": [1, 3, 4]})

    assert ("A", "B") == table.symbols
    assert 5 == len(table.times)
    np.testing.assert_array_equal([[np.nan, 101], [102, 102], [np.nan, 103], [104, 104], [105, np.nan]], table.closes)
    np.testing.assert_array_equal(table.closes.astype(np.float32), table.features[:, :, 0])


def test_labels_count_the_symbols_own_bars() -> None:
    """A's bars are at 1, 3, 4: two of its own bars after hour 1 is hour 4."""
    table = small_table({"B": [0, 1, 2, 3], "A": [1, 3, 4]})

    expected = np.full((5, 2), np.nan)
    expected[1, 0] = np.log(105 / 102)
    expected[0, 1], expected[1, 1] = np.log(103 / 101), np.log(104 / 102)
    np.testing.assert_allclose(table.labels, expected, rtol=1e-5)


def test_a_features_row_without_a_bar_is_refused() -> None:
    with pytest.raises(ContractBroken, match="without a bar"):
        build(frame({"A": [0, 1, 2]}, "f"), frame({"A": [0, 2]}, "close"), 1)


def test_a_label_that_a_gap_stretches_out_of_the_training_rows_is_not_learned_from() -> None:
    """Rows 0..5 train, purging left 2 rows behind them. A's label at 4 ends at hour 20 because its bars 6..18 are missing: it must not count."""
    every = list(range(24))
    table = small_table({"A": [*range(6), 19, 20, 21], "B": every})

    usable = learnable(table, np.arange(6))

    assert [True, True, True, True, False, False] + [False] * 18 == usable[:, 0].tolist()
    assert [True] * 6 + [False] * 18 == usable[:, 1].tolist()


def test_the_scaler_sees_training_rows_only() -> None:
    table = small_table({"A": list(range(10))})

    scaler = Scaler.fit(table.features[:4])

    assert 102.5 == pytest.approx(scaler.mean[0])
    assert np.std([0, 1, 2, 3]) == pytest.approx(scaler.sd[0])
    assert CLIP_SDS == scaler.scale(table.features).max(where=np.isfinite(table.features), initial=-np.inf)


def test_a_constant_feature_becomes_zero() -> None:
    table = small_table({"A": list(range(10))})
    table.features[:] = 0.1

    scaled = Scaler.fit(table.features[:10]).scale(table.features)

    assert np.abs(scaled).max() < 1e-6


def test_blocks_never_cross_from_one_symbol_to_the_next() -> None:
    table = small_table({"A": list(range(30)), "B": list(range(10, 30))})
    rows = Rows.of(table, Scaler.fit(table.features[:30]))
    known = rows.take(learnable(table, np.arange(30)))

    blocks = Blocks.of(rows, rows.take(table.labels), known, block_bars=8, lookback_bars=5)

    for start in blocks.starts.tolist():
        assert 1 == len(set(rows.asset[start - 4 : start + 8]))
    assert (30 - 4 - 7) + (20 - 4 - 7) == len(blocks.starts)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    table = small_table({"A": list(range(60))})
    rows = Rows.of(table, Scaler.fit(table.features[:60]))
    blocks = Blocks.of(rows, rows.take(table.labels), rows.take(learnable(table, np.arange(60))), block_bars=8, lookback_bars=5)

    first, again, later, other = (blocks.batch(seed, step, 4)[0] for seed, step in ((1, 3), (1, 3), (1, 4), (2, 3)))

    assert (4, 12, 1) == first.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


def test_a_history_shorter_than_the_lookback_is_refused() -> None:
    table = small_table({"A": list(range(6))})
    rows = Rows.of(table, Scaler.fit(table.features[:6]))

    with pytest.raises(ContractBroken, match="longer history"):
        Blocks.of(rows, rows.take(table.labels), rows.take(learnable(table, np.arange(6))), block_bars=8, lookback_bars=7)
