"""Features over history: the batch form of a recipe, symbol by symbol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import polars as pl

from data_contracts.bars import BAR_COLUMNS, BAR_KEY
from data_contracts.checks import checks_schema
from desk.features.algebra import Node, ordered
from desk.features.recipe import Recipe

KEYS = BAR_KEY


@checks_schema(bars=BAR_COLUMNS)
def compute(recipe: Recipe, bars: pl.DataFrame) -> pl.DataFrame:
    """Compute the features frame of a bars frame (any row order, any symbols).

    Returns symbol, timeframe, open_time and one Float32 column per feature, sorted by symbol, timeframe and open_time. A row uses the bars of its own
    symbol up to and including its own. The first `recipe.warmup_bars` rows of a symbol are NaN.
    """
    return precise(recipe, bars).with_columns(pl.col(name).cast(pl.Float32) for name in recipe.names)


def precise(recipe: Recipe, bars: pl.DataFrame) -> pl.DataFrame:
    """The features frame in Float64, before it is rounded: what agreement with the incremental form is measured on."""
    ordered_bars = bars.select(list(BAR_COLUMNS)).sort(KEYS)
    parts = [_one_symbol(recipe, part) for part in ordered_bars.partition_by("symbol", "timeframe", maintain_order=True)]
    return pl.concat(parts) if parts else _one_symbol(recipe, ordered_bars)


def _one_symbol(recipe: Recipe, bars: pl.DataFrame) -> pl.DataFrame:
    """Evaluate the recipe on one symbol's bars in time order, one layer of the graph after the other so that shared parts are computed once."""
    program = ordered([feature.formula for feature in recipe.features])
    column_of = {node: f"node_{index}" for index, node in enumerate(program)}
    work = bars
    for layer in _layers(program):
        work = work.with_columns(_expression(node, column_of).alias(column_of[node]) for node in layer)
    warm = pl.int_range(pl.len()) >= recipe.warmup_bars
    columns = [pl.when(warm).then(pl.col(column_of[feature.formula])).otherwise(float("nan")).alias(feature.name) for feature in recipe.features]
    return work.select(*KEYS, *columns)


def _layers(program: tuple[Node, ...]) -> list[list[Node]]:
    depth: dict[Node, int] = {}
    layers: defaultdict[int, list[Node]] = defaultdict(list)
    for node in program:
        depth[node] = 1 + max((depth[each] for each in node.inputs), default=-1)
        layers[depth[node]].append(node)
    return [layers[index] for index in sorted(layers)]


def _expression(node: Node, column_of: Mapping[Node, str]) -> pl.Expr:
    inputs = [pl.col(column_of[each]) for each in node.inputs]
    return node.operation.batch(*inputs) if node.parameter is None else node.operation.batch(*inputs, node.parameter)
