"""The benchmarks of kernel and training notice what gets slower: a fifth more work fails them on this very machine, the same work does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rows(benchmark: str, *words: str) -> list[dict[str, Any]]:
    """What a benchmark prints. Its goals are for a quiet machine, which a test does not have: its exit status is not looked at."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / benchmark, *words], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("benchmark", ["kernel.py", "training.py"])
def test_a_fifth_more_work_is_noticed_and_the_same_work_is_not(benchmark: str, tmp_path: Path) -> None:
    baseline = ("--baseline", str(tmp_path / "baseline.json"))

    stored = rows(benchmark, *baseline, "--store")
    same = rows(benchmark, *baseline)
    more = rows(benchmark, *baseline, "--more", "0.2")

    assert [row["ratio"] for row in stored] == [row["stored"] for row in same]
    assert {False} == {row["lost"] for row in stored + same}
    assert {True} == {row["lost"] for row in more}
