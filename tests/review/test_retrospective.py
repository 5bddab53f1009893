"""The retrospective narrows the next search, and only inside its declared bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.review.retrospective import MIN_TRIALS, propose_search

DECLARED = {"learning_rate": (1e-4, 1e-1)}


def trial(rate: float, score: float) -> dict[str, object]:
    return {"params": {"learning_rate": rate}, "score": score}


def test_a_planted_optimum_lies_inside_the_proposed_bounds_and_the_bounds_are_narrower() -> None:
    rates = [10 ** (-4 + 3 * i / 29) for i in range(30)]
    trials = [trial(rate, -abs(math.log10(rate) + 2.5)) for rate in rates]

    low, high = propose_search(trials, DECLARED).bounds["learning_rate"]

    assert low < 10**-2.5 < high
    assert math.log(high / low) < 0.7 * math.log(1e3)


def test_too_few_trials_change_nothing() -> None:
    trials = [trial(1e-2, float(i)) for i in range(MIN_TRIALS - 1)]

    assert propose_search(trials, DECLARED).bounds == {}


def test_failed_trials_without_a_score_are_not_counted() -> None:
    trials = [trial(1e-2, float("nan")) for _ in range(MIN_TRIALS)] + [{"params": {}, "score": None}]

    assert "0 finished trials" in propose_search(trials, DECLARED).reason


@given(st.lists(st.tuples(st.floats(1e-4, 1e-1), st.floats(-1, 1)), min_size=MIN_TRIALS, max_size=40))
def test_proposed_bounds_never_leave_the_declared_ones(points: list[tuple[float, float]]) -> None:
    proposal = propose_search([trial(rate, score) for rate, score in points], DECLARED)

    for low, high in proposal.bounds.values():
        assert low >= DECLARED["learning_rate"][0]
        assert high <= DECLARED["learning_rate"][1] * (1 + 1e-9)
        assert low < high or low == pytest.approx(high)
