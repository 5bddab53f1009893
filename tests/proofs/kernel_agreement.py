"""Claim: the compiled kernel and the session tell one story: the same fills, refusals and equity on hostile random markets, one a run."""

from __future__ import annotations

import sys
import time

from _proof import ROOT, Size, Verdict, prove

from desk.backtest.result import first_difference

sys.path.insert(0, str(ROOT / "tests" / "agreement"))
from test_kernel_equals_session import by_kernel, by_session, careful, more, synthetic


def kernel_agreement(seed: int, runs: int) -> Verdict:
    """Draw a market, trade it twice."""
    began, fills, wrong = time.monotonic(), 0, []
    for number in range(runs):
        drawn = 1_000_003 * seed + number
        # Plain markets, then coins and contracts with everything a venue may do besides.
        case = synthetic(drawn) if number % 3 == 0 else more(drawn, synthetic(drawn), contracts=number % 3 == 2)
        # Every other one with a limit on what the book may lose in a bar, and often a past.
        case = careful(drawn, case) if number % 2 else case
        told, said = by_session(case)
        fills += len(told.fills)
        difference = first_difference(said, by_kernel(case))
        wrong += [f"market {number}: {difference}"] if difference else []
    detail = {"fills": fills, "wrong": wrong[:20], "seconds": round(time.monotonic() - began, 1)}
    return Verdict(runs, len(wrong), "markets", "0 that differ", not wrong and fills > 0, detail)


if __name__ == "__main__":
    sys.exit(prove("kernel-agreement", Size(200, 10_000), kernel_agreement))
