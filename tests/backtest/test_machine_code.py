"""Machine code kept on disk: loaded without its compiler, another one for other arguments, made again when it was damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from desk.backtest.machine_code import MachineCode
from desk.errors import ContractBroken

ROOT = Path(__file__).resolve().parents[2]
LATER = """
import sys
import numpy as np
from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
prices = np.full((3, 1), 10.0)
bars = Panel(np.datetime64("2024-01-01", "us") + np.arange(3) * np.timedelta64(1, "h"), ("BTC/USDT",), prices, prices, prices, prices, prices * 1e6)
simulate(bars, np.array([[0.5], [np.nan], [np.nan]]), CostSettings(), RiskSettings())
print(sorted({"numba", "polars", "loguru", "scipy"} & set(sys.modules)))
"""


class Sums(NamedTuple):
    """What is added, whether backwards, and where to."""

    items: NDArray[np.float64]
    backwards: bool
    into: NDArray[np.float64]


def weigh(sums: Sums, weight: float, power: int) -> None:
    """Each item by its place, from one end or the other."""
    for row in range(len(sums.items)):
        place = len(sums.items) - row if sums.backwards else row + 1
        sums.into[0] += sums.items[row] * weight * place**power


def lay_out(items: NDArray[np.float64], into: NDArray[np.float64]) -> None:
    """A reshape is a call into numba."""
    into[0] = items.reshape(-1)[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    return tmp_path


def told(code: MachineCode, items: NDArray[np.float64], *, backwards: bool) -> float:
    into = np.zeros(1)
    code(Sums(items, backwards, into), 0.5, np.int64(2))
    return float(into[0])


@pytest.mark.slow
def test_machine_code_says_what_the_function_says_whatever_the_arrays_lie_like(folder: Path) -> None:
    asked: list[str] = []
    code, items = MachineCode(weigh, "1", lambda: asked.append("made")), np.arange(12.0)

    for array in (items, items[::3], items[::-1]):
        for backwards in (False, True):
            into = np.zeros(1)
            weigh(Sums(array, backwards, into), 0.5, 2)
            assert into[0] == told(code, array, backwards=backwards)

    assert ["made", "made"] == asked, "one for items side by side, one for others"
    assert 2 == len(list(folder.iterdir()))


@pytest.mark.slow
def test_it_is_made_once_and_again_when_it_was_damaged_or_its_sources_changed(folder: Path) -> None:
    asked: list[str] = []

    def made(of: str) -> float:
        return told(MachineCode(weigh, of, lambda: asked.append(of)), np.arange(3.0), backwards=False)

    first = [made("old"), made("old")]
    assert ["old"] == asked
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    later = [made("old"), made("new")]

    assert ["old", "old", "new"] == asked
    assert {11.0} == {*first, *later}


@pytest.mark.slow
def test_a_later_process_plays_without_compiler_and_frames(tmp_path: Path) -> None:
    """Importing them takes several times as long as playing a million bars."""
    environment = {**os.environ, "TRADEWIND_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}

    said = [subprocess.run([sys.executable, "-c", LATER], env=environment, capture_output=True, text=True, timeout=60, check=True).stdout for _ in range(2)]

    assert "numba" in said[0]
    assert "[]" == said[1].strip()


def test_numbers_that_it_does_not_know_are_refused() -> None:
    """A single of 32 bits would be read as one of 64."""
    with pytest.raises(KeyError):
        MachineCode(weigh, "1", lambda: None)(Sums(np.zeros(1), False, np.zeros(1)), np.float32(1), 1)


def test_code_that_would_call_its_compiler_is_not_kept(folder: Path) -> None:
    with pytest.raises(ContractBroken, match="lay_out calls numba_"):
        MachineCode(lay_out, "", lambda: None)(np.ones((2, 1)), np.zeros(1))

    assert [] == list(folder.iterdir())
