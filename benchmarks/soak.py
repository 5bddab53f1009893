"""Paper trading at high speed for minutes: does memory, do open files, does the journal grow faster than what happens?

One process, one window, a real practice exchange whose market flows by itself, a real websocket, features and a linear model's forecast at every close.
`--minutes` (3) says for how long, `--out FOLDER` writes soak.json and soak.svg there. The first tenth is warm-up and does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _exchange import exchange
from event_to_order import SYMBOLS, Swing, model

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.books.journal import Step
from desk.chain import Chain
from desk.execution.ccxt_settings import constructor_config
from desk.features.recipe import load
from desk.market.exchange_source import ExchangeSource, open_exchange, open_streams
from desk.market.streamed_feed import StreamedFeed, Window
from desk.modes import Setup, paper

BARS_PER_SECOND = 10
SPEED = BARS_PER_SECOND * 3600  # hourly bars
SAMPLE_EVERY_S = 2.0
WARM_UP_SHARE = 0.1
GOAL_MB_PER_DAY = 1.0
GOAL_BEND = 0.05  # share by which a bar may cost more journal in the later half than in the earlier one


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    seconds: float
    days: float
    bars: int
    rss_mb: float
    open_files: int
    journal_mb: float


class Sampler:
    """Looks at this process every other second, between two steps."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._began = self._next = time.monotonic()
        self._first: Step | None = None
        self.bars = 0
        self.samples: list[Sample] = []

    def __call__(self, step: Step) -> None:
        """After one step."""
        self._first, self.bars = self._first or step, self.bars + 1
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SAMPLE_EVERY_S
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        size = sum(path.stat().st_size for path in self._journal.parent.glob(self._journal.name + "*"))
        days = (step.closed_at - self._first.closed_at).total_seconds() / 86_400
        self.samples.append(Sample(now - self._began, days, self.bars, rss / 2**20, len(os.listdir("/proc/self/fd")), size / 2**20))


def soak(minutes: float, folder: Path) -> list[Sample]:
    """Trade on paper for so many minutes."""
    bars = int(minutes * 60 * BARS_PER_SECOND)
    options = ("--seed", "7", "--symbols", ",".join(SYMBOLS), "--history-bars", "3000", "--stream-bars", str(2 * bars), "--weight-limit", "100000000")
    with exchange(*options, "--speed", str(SPEED)) as greeting:
        config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")))
        source, recipe = ExchangeSource(open_exchange(config)), load("core")
        feed = StreamedFeed(source, lambda: open_streams(config), SYMBOLS, Timeframe.H1, Window(bars))
        instruments = {symbol: grid for symbol, grid in source.instruments().items() if symbol in SYMBOLS}
        forecaster = model(recipe, source, feed.opened_at)
        setup = Setup("soak", "soak", instruments, Swing(), TradingSettings(), RiskSettings(), recipe, forecaster)
        sampler = Sampler(folder / "soak.sqlite")
        with Chain(folder / "soak.sqlite", sync=True) as chain:
            paper(feed, setup, chain, sampler)
    return sampler.samples


def judged(samples: list[Sample]) -> list[dict[str, Any]]:
    """One line each for memory, open files and the journal."""
    kept = samples[int(len(samples) * WARM_UP_SHARE) :]
    days, rss, files, size = (np.array([getattr(each, name) for each in kept]) for name in ("days", "rss_mb", "open_files", "journal_mb"))
    slope = float(np.polyfit(days, rss, 1)[0])
    detail = {"minutes": round(kept[-1].seconds / 60, 1), "days": round(float(days[-1]), 1), "bars": kept[-1].bars, "rss_mb": round(float(rss[-1]), 1)}
    half = len(files) // 2
    # Idle HTTP connections come and go; a leak shows as a later half that needs more than the earlier one.
    more = int(files[half:].max() - files[:half].max())
    # The file grows in steps, checkpoint by checkpoint, so that a straight line never fits it wholly: the two halves must grow alike.
    earlier, later = (float(np.polyfit(days[part], size[part], 1)[0]) for part in (slice(half), slice(half, None)))
    bend = later / earlier - 1
    r2 = float(np.corrcoef(days, size)[0, 1] ** 2)
    return [
        {"name": "soak.memory", "value": round(slope, 4), "unit": "MB/day", "goal": GOAL_MB_PER_DAY, "met": slope < GOAL_MB_PER_DAY, "detail": detail},
        {
            "name": "soak.open_files",
            "value": more,
            "unit": "files",
            "goal": 0,
            "met": more <= 0,
            "detail": {"least": int(files.min()), "most": int(files.max())},
        },
        {
            "name": "soak.journal",
            "value": round(bend, 4),
            "unit": "later half / earlier half - 1",
            "goal": GOAL_BEND,
            "met": bend <= GOAL_BEND,
            "detail": {"kb_per_bar": round(later * 1024 / 24, 2), "mb": round(float(size[-1]), 1), "r2": round(r2, 5)},
        },
    ]


def draw(samples: list[Sample], path: Path) -> None:
    """Memory, open files and journal over simulated days."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "soak"
    days = [each.days for each in samples]
    panels = (("resident memory, MB", "rss_mb"), ("open files", "open_files"), ("journal, MB", "journal_mb"))
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(8, 7), layout="constrained")
    for axis, (label, name) in zip(axes, panels, strict=True):
        axis.plot(days, [getattr(each, name) for each in samples], linewidth=1)
        axis.axvspan(0, days[int(len(days) * WARM_UP_SHARE)], alpha=0.1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("simulated days (shaded: warm-up, not counted)")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Soak, judge, print; write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = soak(given.minutes, Path(folder))
    lines = judged(samples)
    for line in lines:
        print(json.dumps(line))
    if given.out is not None:
        (given.out / "soak.json").write_text(json.dumps({"results": lines, "samples": [asdict(each) for each in samples]}) + "\n")
        draw(samples, given.out / "soak.svg")


if __name__ == "__main__":
    main()
