"""Walk-forward training: one study and one fit per fold.

does      bring the features up to date, then tune and train every fold and the model that may trade
needs     the venue of the settings; a GPU helps, none is needed
leaves    artefacts per fold (weights, ONNX, study), trials in the trial ledger
cadence   `train/nightly`
failure   run it again: finished folds come from the cache, a killed one resumes its study and checkpoints
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.values import Research


@flow(name="train", flow_run_name="train-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def train(profile: str = "demo", candles: list[str] | None = None) -> Research:
    """Tune and train every fold."""
    settings = begin(profile)
    stages = chain(settings, "train", 5 + settings.learning.folds.n_folds, candle_paths(candles))
    return stages.research(stages.market())
