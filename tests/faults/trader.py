"""A desk in a process of its own, that dies by `kill -9` at a named point: `python -m tests.faults.trader`, told on stdin what to trade."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from configs.trading import TradingSettings
from configs.vocabulary import Submission
from desk.execution.exchange_venue import ExchangeVenue
from desk.security.arming import ArmedLease
from tests.faults.conftest import Desk, Exchange
from tests.proofs._crash_points import Fate, FragileChain, FragileVenue

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 50


@dataclass
class Doomed(Desk):
    """Dies when it comes to a point."""

    venue_kind: ClassVar[type[ExchangeVenue]] = FragileVenue

    fate: Fate = field(default_factory=lambda: Fate("", 0))

    def chain(self) -> FragileChain:
        """A journal whose writer may die around a write."""
        chain = FragileChain(self.journal, sync=True)
        chain.fate = self.fate
        return chain

    def venue(self, wire: Any, lease: ArmedLease, wait: Callable[[float], None] | None = None) -> ExchangeVenue:
        """A venue that may die around asking."""
        venue = super().venue(wire, lease, wait)
        assert isinstance(venue, FragileVenue)
        venue.fate = self.fate
        return venue


def kill(desk: Desk, point: str, bars: int, nth: int = 1) -> None:
    """Let a process trade the desk's session until it dies at the point for the n-th time; fails when it does not."""
    told = {
        "greeting": desk.exchange.greeting,
        "folder": str(desk.folder),
        "name": desk.name,
        "trading": desk.trading.model_dump(mode="json"),
        "submission": desk.submission.value,
        "bars": bars,
        "fate": [point, nth],
    }
    command = [sys.executable, "-m", "tests.faults.trader"]
    ended = subprocess.run(command, input=json.dumps(told), text=True, capture_output=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert -signal.SIGKILL == ended.returncode, f"did not come to '{point}': {ended.stderr[-2000:]}"


def main() -> None:
    """Trade what stdin says."""
    told = json.load(sys.stdin)
    desk = Doomed(
        Exchange(told["greeting"]), Path(told["folder"]), told["name"], trading=TradingSettings.model_validate(told["trading"]), fate=Fate(*told["fate"])
    )
    desk.submission = Submission(told["submission"])
    desk.trade(told["bars"])


if __name__ == "__main__":
    main()
