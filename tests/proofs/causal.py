"""Claim: no feature knows the future, more history than it declares, or other symbols: distorted markets leave its values as they were, bit for bit."""

from __future__ import annotations

import sys

from _markets import market
from _proof import Size, Verdict, prove

from desk.features.proof import prove as certify
from desk.features.recipe import load

BARS = 500


def causal(seed: int, runs: int) -> Verdict:
    """A certificate for every feature on every market."""
    recipe, failed, checks = load("core"), [], 0
    for number in range(runs):
        for certificate in certify(recipe, market(1_000_003 * seed + number, ("ADA/USDT", "BTC/USDT", "ETH/USDT"), BARS)):
            checks += len(certificate.checks)
            failed += [f"market {number}, {certificate.feature}: {check.name}: {check.evidence}" for check in certificate.checks if not check.passed]
    detail = {"checks": checks, "failed": failed[:20], "recipe": recipe.hash}
    return Verdict(runs, len(failed), "checks", "0 that fail", not failed and checks > 0, detail)


if __name__ == "__main__":
    sys.exit(prove("causal", Size(20, 500), causal))
