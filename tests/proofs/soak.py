"""Claim: paper trading at high speed for minutes (one a run) neither leaks memory nor open files, and its journal grows only as fast as what happens."""

from __future__ import annotations

import json
import subprocess
import sys

from _proof import ROOT, Size, Verdict, prove


def soak(seed: int, runs: int) -> Verdict:
    """Run the benchmark for `runs` minutes; each of its lines has a goal. Its market is always the same: the seed changes nothing."""
    command = [sys.executable, "benchmarks/soak.py", "--minutes", str(runs)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    unmet = sum(not line["met"] for line in lines)
    return Verdict(runs, unmet, "goals unmet", "0", bool(lines) and unmet == 0 and done.returncode == 0, {"lines": lines})


if __name__ == "__main__":
    sys.exit(prove("soak", Size(3, 30), soak))
