"""One bounded paper window on the streamed market.

does      bring research up to date, resume the paper account from its journal, trade `paper_bars` bars
needs     the venue of the settings
leaves    the journal: every bar, target, order, refusal and fill
cadence   `trade/paper`, one at a time
failure   run it again: start is recovery
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.values import Window


@flow(name="trade", flow_run_name="trade-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def trade(profile: str = "demo", candles: list[str] | None = None) -> Window:
    """Trade one window, then stop."""
    settings = begin(profile)
    stages = chain(settings, "trade", 6 + settings.learning.folds.n_folds, candle_paths(candles))
    market = stages.market()
    return stages.trade(market, stages.research(market))
