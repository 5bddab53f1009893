"""The stitched out-of-sample backtest beside its baselines.

does      bring research up to date, run the session over each fold's own forecasts, check the kernel against it
needs     the venue of the settings
leaves    a result bundle: equity, fills, refusals, measures
cadence   `backtest/on-train`, after each completed training
failure   run it again
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.values import Backtested


@flow(name="backtest", flow_run_name="backtest-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def backtest(profile: str = "demo", candles: list[str] | None = None) -> Backtested:
    """Backtest what the folds learned."""
    settings = begin(profile)
    stages = chain(settings, "backtest", 6 + settings.learning.folds.n_folds, candle_paths(candles))
    market = stages.market()
    return stages.backtest(market, stages.research(market))
