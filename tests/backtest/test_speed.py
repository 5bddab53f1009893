"""The benchmark of the kernel notices what gets slower: a fifth more work fails it on this very machine, the same work does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "kernel.py"


def rows(*words: str) -> list[dict[str, Any]]:
    """What the benchmark prints. Its goals are for a quiet machine, which a test does not have: its exit status is not looked at."""
    done = subprocess.run([sys.executable, BENCHMARK, *words], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_fifth_more_work_is_noticed_and_the_same_work_is_not(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"

    stored = rows("--baseline", str(baseline), "--store")
    same = rows("--baseline", str(baseline))
    longer = rows("--baseline", str(baseline), "--longer", "1.2")

    assert [False, False] == [row["lost"] for row in stored] == [row["lost"] for row in same]
    assert [row["least_ratio"] for row in stored] == [row["stored"] for row in same]
    assert [True, True] == [row["lost"] for row in longer]
