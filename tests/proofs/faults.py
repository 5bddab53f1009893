"""Claim: every fault of docs/faults.md leaves no order twice, no fill lost and a book that equals the account.

The tests of the fault matrix, `runs` times over with other seeds for whatever draws.
"""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove


def faults(seed: int, runs: int) -> Verdict:
    """Set off every fault of the matrix."""
    for number in range(runs - 1):
        verdict = by_tests(["tests/faults"], seed + number, 1)
        if not verdict.met:
            return verdict
    return by_tests(["tests/faults"], seed + runs - 1, 1)


if __name__ == "__main__":
    sys.exit(prove("faults", Size(1, 5), faults))
