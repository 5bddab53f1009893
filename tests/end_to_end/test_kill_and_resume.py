"""kill -9 in the middle, then the same command again: everything is there once, and as if nothing had happened.

One installation is killed several times on its way from candles to report: while a study runs, around the model registry, and in a paper window. The
moments are seeded and told by what the run has done, not by a clock. `TRADEWIND_KILLS=8` tries that many seeds instead of one.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]

SEEDS = range(int(os.environ.get("TRADEWIND_KILLS", "1")))
FOLDS, TRIALS, PAPER_BARS = 3, 2, 24

Moment = Callable[[Any, Any], bool]


def missed(task: str) -> Moment:
    """The body of a cached step is about to run."""
    return lambda _, run: run.heard("cache.missed", f"task={task}")


def trials(number: int) -> Moment:
    """So many trials are in the ledger: the next one runs, or the fold's final fit."""
    return lambda installation, _: len(installation.trial_rows()) >= number


def traded(bars: int) -> Moment:
    """So many steps are in the paper journal."""
    return lambda installation, _: installation.entries()["step"] >= bars


RESEARCH: dict[str, Moment] = {
    "validating": missed("validate_bars"),
    "building features": missed("build_features"),
    "importing the trainer": missed("train_fold"),
    **{f"after trial {number}": trials(number) for number in range(1, FOLDS * TRIALS + 1)},
}
REGISTRY: dict[str, Moment] = {
    "backtesting": missed("backtest_stitched"),
    "before the registry exists": missed("promote_model"),
    "while the registry's tables are made": lambda installation, _: len(installation.registry_tables()) > 3,
    "inside the registry's run": lambda installation, _: bool(installation.recorded_runs()),
    "after the model was registered": lambda installation, _: bool(installation.versions()),
}
PAPER: dict[str, Moment] = {
    **{f"after paper bar {bars}": traded(bars) for bars in range(1, PAPER_BARS)},
    "writing the report": lambda _, run: run.heard("step.started", "write the report"),
}


def chosen(seed: int) -> list[str]:
    """One moment of each part, in the order in which a run comes to them."""
    dice = random.Random(seed)
    return [dice.choice(sorted(part)) for part in (RESEARCH, REGISTRY, PAPER)]


def end_everything(installation: Any) -> None:
    """What a reboot would do: the services die with the flow."""
    family = installation.processes()
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_was_killed_again_and_again_ends_like_one_that_was_not(seed: int, new_installation: Callable[[], Any], twice: Any) -> None:
    installation, moments = new_installation(), {**RESEARCH, **REGISTRY, **PAPER}
    for name in chosen(seed):
        run = installation.start()
        run.until(lambda name=name, run=run: moments[name](installation, run))
        run.kill()
    if seed % 2 == 0:
        end_everything(installation)
    kept = installation.steps() if installation.entries()["step"] else ()

    last = installation.start().completed()

    # the paper account
    steps = installation.steps()
    assert repr(twice.after["steps"][: len(steps)]) == repr(steps), chosen(seed)
    assert repr(kept) == repr(steps[: len(kept)])
    assert len(kept) + PAPER_BARS == len(steps)
    assert {timedelta(hours=1)} == {later.closed_at - earlier.closed_at for earlier, later in itertools.pairwise(steps)}
    assert 1 == installation.entries()["opened"]
    # data
    assert twice.after["tables"] == installation.tables()
    # learning: every trial once, the ones that a kill ended beside those that replaced them
    trials = installation.trials()
    assert len(trials) == len({(study, number) for study, number, _ in trials})
    assert {study: TRIALS for study, _, _ in twice.after["trials"]} == Counter(study for study, _, state in trials if state != "fail")
    assert sum(state == "fail" for *_, state in trials) <= 1
    # the registry
    assert twice.after["versions"] == installation.versions()
    assert twice.after["runs"] == installation.recorded_runs()
    assert "decision" in last.said
    # and nobody is left: the consoles that were killed could not take themselves off the services they used
    assert [] == installation.processes()
