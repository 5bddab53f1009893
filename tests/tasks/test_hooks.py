"""Hooks are called by keyword, by a worker in another process; what they publish holds no secret."""

from __future__ import annotations

import inspect
import logging
from types import SimpleNamespace

import pytest

from desk.log import register_secret
from tasks.hooks import failure_page, forward_to_run_log, on_crashed, on_failed
from tests.listening import Heard

FLOW = SimpleNamespace(name="train")
RUN = SimpleNamespace(name="train-demo", id="5f0c")


@pytest.mark.parametrize("hook", [on_failed, on_crashed])
def test_a_hook_takes_the_names_that_a_worker_calls_it_with(hook: object) -> None:
    """Any other name works in the flow's own process and is a TypeError, silently lost, in a worker."""
    assert callable(hook)
    assert ["flow", "flow_run", "state"] == list(inspect.signature(hook).parameters)


def test_a_crash_is_one_line_that_names_the_run(heard: list[Heard]) -> None:
    on_crashed(flow=FLOW, flow_run=RUN, state=SimpleNamespace(message="exit code -9"))

    assert ["flow.crashed"] == [each.event for each in heard]
    assert all(word in str(heard[0].fields) for word in ("train-demo", "5f0c", "exit code -9"))


def test_the_page_of_a_failure_says_what_failed_and_what_to_do() -> None:
    page = failure_page("train", "train-demo", "expected 5 folds, found ```3```")

    assert "# train failed" in page
    assert "train-demo" in page
    assert 2 == page.count("```")
    assert "run it again" in page


def test_the_page_of_a_failure_holds_no_secret() -> None:
    register_secret("sesame-open-now-please")

    assert "sesame-open-now-please" not in failure_page("trade", "trade-paper", "refused key sesame-open-now-please")


@pytest.mark.parametrize("level", [logging.INFO, "WARNING"])
def test_a_line_outside_any_run_stays_with_the_other_sinks(level: int | str, caplog: pytest.LogCaptureFixture) -> None:
    """No run, no logger of a run: the line is neither an error nor said a second time."""
    with caplog.at_level(logging.DEBUG):
        forward_to_run_log(level, "nobody listens")

    assert [] == caplog.messages
