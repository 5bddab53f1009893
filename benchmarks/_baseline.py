"""What a row took on this processor when it was stored: one that takes a tenth more has lost something, whatever its goal says."""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORED = Path(__file__).with_name("baseline.json")
# Between two runs of the same code the ratio differs by up to a twentieth.
ALLOWED = 1.10
# How often everything is laid out anew: where arrays happen to lie in memory moves a time by a tenth and more, the median over several places by little.
PLACES = 4
# How often a row is measured before it counts as slower than it was, or is stored.
TRIES = 3


def processor() -> str:
    """Whose figures these are: ratios move with the processor, by a tenth and more."""
    known = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", known.read_text(encoding="utf-8")) if known.exists() else None
    return found[1].strip() if found else platform.processor()


def stored(path: Path = STORED) -> dict[str, float]:
    """By the name of the row; empty where nothing was stored on this processor."""
    everywhere: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return everywhere.get(processor(), {})


def store(rows: dict[str, float], path: Path = STORED) -> None:
    """Keep these rows for this processor, beside those of others."""
    everywhere = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    everywhere[processor()] = stored(path) | rows
    path.write_text(json.dumps(everywhere, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def slower(name: str, value: float, before: dict[str, float]) -> bool:
    """Whether a row takes more than it may; one that was never stored may take anything."""
    return value > ALLOWED * before.get(name, value)


Times = tuple[list[float], list[float]]


def in_turn(
    make: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]],
    rounds: int,
    name: str,
    before: dict[str, float],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Times, float]:
    """Seconds of ours and of the bare loop, one after the other, as `make` lays them out in several places; and the ratio to be compared.

    In each place one more of both warms up. What seems to have lost something is measured again before it is believed, and the least ratio counts; what
    is to be stored is measured as often, and the middle one counts.
    """
    ours: list[float] = []
    peer: list[float] = []
    ratios: list[float] = []
    while len(ratios) < TRIES and (name not in before or not ratios or slower(name, min(ratios), before)):
        first = len(ours)
        for _ in range(PLACES):
            play, bare = make()
            play(), bare()
            pairs = [(_took(play, clock), _took(bare, clock)) for _ in range(rounds)]
            ours += [mine for mine, _ in pairs]
            peer += [theirs for _, theirs in pairs]
        ratios.append(statistics.median(mine / theirs for mine, theirs in zip(ours[first:], peer[first:], strict=True)))
    return (ours, peer), min(ratios) if name in before else statistics.median(ratios)


def _took(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return clock() - began


def words(about: str, more: str) -> argparse.Namespace:
    """What the command line asks of a benchmark that is compared with what was stored."""
    known = argparse.ArgumentParser(description=about)
    known.add_argument("--store", action="store_true", help="keep these figures for this processor")
    known.add_argument("--baseline", type=Path, default=STORED, help="where they are kept")
    known.add_argument("--more", type=float, default=0.0, help=more)
    return known.parse_args()
