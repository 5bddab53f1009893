"""Claim: no approved order breaks a limit, HALTED sends nothing, REDUCING opens nothing, and no latch opens by itself; `runs` is the number of steps."""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove


def risk_states(seed: int, runs: int) -> Verdict:
    """Wish for anything, whatever the account went through."""
    return by_tests(["tests/risk/test_state.py"], seed, runs)


if __name__ == "__main__":
    sys.exit(prove("risk-states", Size(20_000, 1_000_000), risk_states))
