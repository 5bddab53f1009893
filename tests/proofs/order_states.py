"""Claim: an order goes only where an order may go, whatever a venue says in whatever order; `runs` is the number of steps."""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove


def order_states(seed: int, runs: int) -> Verdict:
    """Tell an order anything."""
    return by_tests(["tests/execution/test_lifecycle.py"], seed, runs)


if __name__ == "__main__":
    sys.exit(prove("order-states", Size(20_000, 1_000_000), order_states))
