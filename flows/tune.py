"""A wider search: the same folds with more trials each.

does      what `train` does, with `trials` Optuna trials a fold
needs     the venue of the settings; a GPU helps, none is needed
leaves    studies and trials in the ledger: every one of them is counted against promotion
cadence   `tune/weekly`
failure   run it again: studies resume
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.values import Research


@flow(name="tune", flow_run_name="tune-{profile}-{trials}", on_failure=[on_failed], on_crashed=[on_crashed])
def tune(profile: str = "demo", trials: int = 24, candles: list[str] | None = None) -> Research:
    """Search wider than `train` does."""
    settings = begin(profile, {"learning": {"tuning": {"trials": trials}}})
    stages = chain(settings, "tune", 5 + settings.learning.folds.n_folds, candle_paths(candles))
    return stages.research(stages.market())
