"""Claim: the benchmarks of kernel and training notice a fifth more work on the machine they run on, and do not take the same work for more."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _proof import ROOT, Size, Verdict, prove

BENCHMARKS = ("kernel.py", "training.py")


def rows(benchmark: str, *words: str) -> list[dict[str, Any]]:
    """What a benchmark prints. Its goals are another question: its exit status is not looked at."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / benchmark, *words], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def speed(_: int, runs: int) -> Verdict:
    """Store what each takes, then measure the same work and a fifth more."""
    wrong: list[str] = []
    for benchmark in BENCHMARKS * runs:
        with tempfile.TemporaryDirectory() as folder:
            baseline = ("--baseline", str(Path(folder) / "baseline.json"))
            stored, same, more = (rows(benchmark, *baseline, *words) for words in (("--store",), (), ("--more", "0.2")))
        wrong += [f"{row['name']} was not stored" for row, again in zip(stored, same, strict=True) if again["stored"] != row["ratio"]]
        wrong += [f"{row['name']}: {row['ratio']} after {row['stored']} lost nothing, and was believed to" for row in same if row["lost"]]
        wrong += [f"{row['name']}: {row['ratio']} after {row['stored']} was not noticed" for row in more if not row["lost"]]
    return Verdict(runs, len(wrong), "rows", "0 that are wrong", not wrong, {"wrong": wrong})


if __name__ == "__main__":
    sys.exit(prove("speed", Size(1, 5), speed))
