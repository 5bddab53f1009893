"""What one more closed bar costs in features: the stream, against evaluating the same recipe's polars expressions on the tail of the history.

Prints one JSON line. Ours and the peer see the same bars in one process, alternating; medians are told.
"""

from __future__ import annotations

import json
import statistics
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from configs.vocabulary import Timeframe
from desk.events import Bar
from desk.features import batch
from desk.features.incremental import Stream
from desk.features.recipe import load

GOAL_MICROSECONDS = 100.0
BARS = 2_000
# The peer is a thousand times slower: it is measured on every tenth bar.
PEER_EVERY = 10


def _bars() -> list[Bar]:
    random = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, BARS)))
    volume = random.lognormal(3.0, 1.0, BARS)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        Bar("BTC/USDT", Timeframe.H1, start + timedelta(hours=i), price, price * 1.004, price * 0.995, price, traded)
        for i, (price, traded) in enumerate(zip(close.tolist(), volume.tolist(), strict=True))
    ]


def _frame(bars: list[Bar]) -> pl.DataFrame:
    rows = [(bar.symbol, bar.timeframe.value, bar.open_time, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    return pl.DataFrame(rows, schema=list(batch.BAR_COLUMNS), orient="row")


def main() -> None:
    """Measure and print."""
    recipe, bars = load("core"), _bars()
    stream, history, tail = Stream(recipe), _frame(bars), recipe.warmup_bars + 1
    ours, peer = [], []
    for index, bar in enumerate(bars):
        began = time.perf_counter()
        stream.update(bar)
        ours.append(time.perf_counter() - began)
        if index >= tail and index % PEER_EVERY == 0:
            began = time.perf_counter()
            batch.compute(recipe, history[index + 1 - tail : index + 1])
            peer.append(time.perf_counter() - began)
    value, peer_value = statistics.median(ours[tail:]) * 1e6, statistics.median(peer) * 1e6
    line = {
        "name": "features.update",
        "value": round(value, 1),
        "unit": "us",
        "peer": "the recipe's polars expressions on the tail",
        "peer_value": round(peer_value, 1),
    }
    print(json.dumps({**line, "ratio": round(peer_value / value, 1), "goal": GOAL_MICROSECONDS, "met": value < GOAL_MICROSECONDS}))


if __name__ == "__main__":
    main()
