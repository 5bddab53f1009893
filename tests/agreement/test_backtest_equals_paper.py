"""The first promise: on the same bars, a backtest and a paper session decide and execute the same, to the last hash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.trading import PolicySettings
from desk.chain import Chain
from desk.features import recipe
from desk.market.stored_feed import StoredFeed
from desk.modes import backtest, paper
from desk.strategy.band import BandPolicy

EVENTS = 60


class Momentum:
    """A stand-in for a trained model: a fixed linear reading of the last feature rows, with many digits."""

    lookback_bars = 4

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        return float(window.astype(np.float64)[:, :4].mean() / 3.0), 1.0

    def name_at(self, closed_at: datetime) -> str:
        return "momentum"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_backtest_of_what_paper_saw_is_what_paper_did(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Streamed through a websocket and REST, in two windows with a restart between them, against one pass over the stored bars."""
    tape = new_tape()
    core = recipe.load("core")
    setup = tape.setup(BandPolicy(PolicySettings(entry=0.05, exit=0.0)), recipe=core, forecaster=Momentum())
    opened = tape.feed(1).opened_at

    windows = []
    for _ in range(2):
        with Chain(tmp_path / "journal.sqlite", sync=True) as chain:
            windows.append(paper(tape.feed(EVENTS // 2), setup, chain))
    replayed = backtest(StoredFeed(tape.bars(), start=opened), setup)

    assert replayed.bars == EVENTS
    assert len(replayed.fills) > 10
    for part in ("target_hashes", "decision_hashes", "fills", "refusals", "equity"):
        assert getattr(windows[0], part) + getattr(windows[1], part) == getattr(replayed, part), part
