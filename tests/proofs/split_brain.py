"""Claim: a holder of the lease that was stopped, replaced and woken up sends no order.

The drill with real processes and a practice exchange, `runs` times over.
"""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove


def split_brain(seed: int, runs: int) -> Verdict:
    """Stop the holder, let a second one take over, wake the first."""
    for number in range(runs - 1):
        verdict = by_tests(["tests/drills/test_split_brain.py"], seed + number, 1)
        if not verdict.met:
            return verdict
    return by_tests(["tests/drills/test_split_brain.py"], seed + runs - 1, 1)


if __name__ == "__main__":
    sys.exit(prove("split-brain", Size(3, 20), split_brain))
