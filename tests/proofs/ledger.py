"""Claim: whatever is asked of the practice exchange, its books balance to the last digit and no order fills above its quantity.

Stateful tests of the spot and the perpetual ledger, and random order flow against a brute-force reference book; `runs` is the number of steps of each.
"""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove

FILES = ("test_exchange_machine.py", "test_perpetual_ledger.py", "test_matching.py")


def ledger(seed: int, runs: int) -> Verdict:
    """Ask for anything, in any order."""
    return by_tests([f"tests/practice_exchange/{name}" for name in FILES], seed, runs)


if __name__ == "__main__":
    sys.exit(prove("ledger", Size(20_000, 1_000_000), ledger))
