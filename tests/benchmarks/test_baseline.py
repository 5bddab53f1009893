"""What a benchmark believes about being slower than it was, told by a clock that the work itself moves."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

BASELINE = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "_baseline.py")))
NAME, ROUNDS = "kernel.million_bars", 5


class Clock:
    """Seconds that pass only while something works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def working(self, seconds: Callable[[], float]) -> Callable[[], None]:
        """Work that takes as long as it is told to."""

        def work() -> None:
            self.now += seconds()

        return work


def measured(ratios: Iterable[float], before: dict[str, float]) -> tuple[float, int]:
    """The ratio that counts, and how often everything was measured, where each measurement finds the next of `ratios`."""
    clock, tries, taken = Clock(), iter(ratios), [0.0]
    places = 0

    def make() -> tuple[Callable[[], None], Callable[[], None]]:
        nonlocal places
        if places % BASELINE.PLACES == 0:
            taken[0] = next(tries)
        places += 1
        return clock.working(lambda: 0.005 * taken[0]), clock.working(lambda: 0.005)

    (ours, peer), ratio = BASELINE.in_turn(make, ROUNDS, NAME, before, clock)
    assert len(ours) == len(peer) == ROUNDS * places
    return ratio, places // BASELINE.PLACES


def is_slower(ratio: float, before: dict[str, float]) -> bool:
    slower: bool = BASELINE.slower(NAME, ratio, before)
    return slower


def test_a_fifth_more_work_is_noticed() -> None:
    """However often it is measured: 1.2 times 1.05 is more than a tenth above 1.05."""
    ratio, tries = measured(3 * [1.26], {NAME: 1.05})

    assert (1.26, 3) == (pytest.approx(ratio), tries)
    assert is_slower(ratio, {NAME: 1.05})


def test_the_same_work_is_measured_once_and_is_not_slower() -> None:
    ratio, tries = measured([1.08], {NAME: 1.05})

    assert (1.08, 1) == (pytest.approx(ratio), tries)
    assert not is_slower(ratio, {NAME: 1.05})


def test_what_another_program_disturbed_is_measured_again() -> None:
    """One loud measurement of the same work is no loss."""
    ratio, tries = measured([1.3, 1.06], {NAME: 1.05})

    assert (1.06, 2) == (pytest.approx(ratio), tries)
    assert not is_slower(ratio, {NAME: 1.05})


def test_what_is_stored_is_the_middle_of_three() -> None:
    """The least would make every later measurement look slow, the first one whatever the hour was."""
    assert (1.1, 3) == measured([1.3, 1.1, 1.0], {})


def test_a_row_that_was_never_stored_may_take_anything() -> None:
    assert not is_slower(100.0, {})


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """A file with another processor's rows, which are never touched."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"Another": {NAME: 9.0}}), encoding="utf-8")
    yield path
    assert {NAME: 9.0} == json.loads(path.read_text(encoding="utf-8"))["Another"]


def test_rows_are_kept_by_processor(kept: Path) -> None:
    assert {} == BASELINE.stored(kept)

    BASELINE.store({NAME: 1.05}, kept)
    BASELINE.store({"training.fit": 2.7}, kept)

    assert {NAME: 1.05, "training.fit": 2.7} == BASELINE.stored(kept)
