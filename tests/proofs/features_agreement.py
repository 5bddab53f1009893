"""Claim: a feature computed over history and one computed bar by bar are the same number, to one unit in the last place, on random markets."""

from __future__ import annotations

import sys

import numpy as np
from _markets import market
from _proof import Size, Verdict, prove

from configs.vocabulary import Timeframe
from desk.events import Bar
from desk.features import batch
from desk.features.incremental import Stream
from desk.features.recipe import load

BARS = 600


def features_agreement(seed: int, runs: int) -> Verdict:
    """Compute twice; the value is the largest distance in units in the last place."""
    recipe, worst, compared = load("core"), 0.0, 0
    for number in range(runs):
        bars = market(1_000_003 * seed + number, ("BTC/USDT",), BARS)
        stream = Stream(recipe)
        rows = [stream.update(Bar(symbol, Timeframe(name), *rest)) for symbol, name, *rest in bars.select(list(batch.BAR_COLUMNS)).iter_rows()]
        told = np.array(rows)[recipe.warmup_bars :]
        once = batch.compute(recipe, bars).select(recipe.names).to_numpy()[recipe.warmup_bars :]
        apart = np.abs(told.astype(np.float64) - once) / np.spacing(np.maximum(np.abs(once), np.finfo(np.float32).tiny))
        compared += int(np.isfinite(once).sum())
        same = (told == once) | (np.isnan(told) & np.isnan(once))
        worst = max(worst, float(np.where(same, 0.0, np.nan_to_num(apart, nan=np.inf)).max()))
    return Verdict(runs, worst, "units in the last place", "<= 1", worst <= 1, {"values": compared, "recipe": recipe.hash})


if __name__ == "__main__":
    sys.exit(prove("features-agreement", Size(100, 5_000), features_agreement))
