"""The trial ledger counts every trial once and every look at a holdout."""

from __future__ import annotations

from configs.operations import OperationsSettings
from tasks.ledger import open_ledger, spend_holdout, trial_ledger, trials_of

SPAN = ("2024-01-01T00:00:00+00:00", "2024-02-01T00:00:00+00:00")
LATER = ("2024-03-01T00:00:00+00:00", "2024-04-01T00:00:00+00:00")


def test_a_trial_reported_twice_by_a_resumed_study_is_counted_once(operations: OperationsSettings) -> None:
    remember = trial_ledger(operations, "market_a")

    for number in (0, 1, 1, 0, 2):
        remember({"study": "fold-0", "number": number, "params": {"learning_rate": 0.01}, "score": 0.1})

    assert [0, 1, 2] == [trial["number"] for trial in trials_of(operations, "market_a")]


def test_a_trial_that_died_without_a_score_is_counted_too(operations: OperationsSettings) -> None:
    trial_ledger(operations, "market_a")({"study": "fold-0", "number": 0, "params": {}, "score": float("nan")})

    assert [None] == [trial["score"] for trial in trials_of(operations, "market_a")]


def test_trials_of_another_market_are_not_counted(operations: OperationsSettings) -> None:
    trial_ledger(operations, "market_a")({"study": "fold-0", "number": 0, "params": {}, "score": 0.1})

    assert [] == trials_of(operations, "market_b")


def test_the_same_model_looking_again_at_its_holdout_is_the_same_look(operations: OperationsSettings) -> None:
    assert 0 == spend_holdout(operations, "market_a", "model-1", SPAN)
    assert 1 == spend_holdout(operations, "market_a", "model-2", SPAN)
    assert 0 == spend_holdout(operations, "market_a", "model-1", SPAN)
    assert 1 == spend_holdout(operations, "market_a", "model-2", SPAN)


def test_a_span_that_does_not_overlap_is_a_fresh_holdout(operations: OperationsSettings) -> None:
    spend_holdout(operations, "market_a", "model-1", SPAN)

    assert 0 == spend_holdout(operations, "market_a", "model-2", LATER)


def test_the_ledger_is_a_verified_chain(operations: OperationsSettings) -> None:
    spend_holdout(operations, "market_a", "model-1", SPAN)

    with open_ledger(operations) as ledger:
        assert 1 == ledger.verify().count
