"""Claim: the deployment panic/now, carried out by a real worker, closes the account of a trader that was killed.

With a Prefect server, a worker and a practice exchange of its own, `runs` times over. It takes a minute, most of which is Prefect.
"""

from __future__ import annotations

import sys

from _proof import Size, Verdict, by_tests, prove


def panic(seed: int, runs: int) -> Verdict:
    """Kill a trader with positions and resting stops, start the deployment, ask the exchange."""
    for number in range(runs - 1):
        verdict = by_tests(["tests/proofs/_panic_drill.py"], seed + number, 1)
        if not verdict.met:
            return verdict
    return by_tests(["tests/proofs/_panic_drill.py"], seed + runs - 1, 1)


if __name__ == "__main__":
    sys.exit(prove("panic", Size(1, 3), panic))
