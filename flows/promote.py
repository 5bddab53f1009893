"""The gate between research and trading.

does      bring the backtest up to date, decide by the once-only holdout and the counted trials, register and alias
needs     the venue of the settings
leaves    an MLflow version with its evidence and an alias
cadence   `promote/on-backtest`, after each completed backtest
failure   run it again: a version is registered once per content
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.values import Promoted


@flow(name="promote", flow_run_name="promote-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def promote(profile: str = "demo", candles: list[str] | None = None) -> Promoted:
    """Decide promotion with reasons."""
    settings = begin(profile)
    stages = chain(settings, "promote", 7 + settings.learning.folds.n_folds, candle_paths(candles))
    market = stages.market()
    research = stages.research(market)
    return stages.promote(stages.backtest(market, research), research)
