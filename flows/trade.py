"""One bounded window on the streamed market: on paper, or, where the settings say `mode: live`, with orders on the practice exchange.

does      bring research up to date, resume the account from its journal, trade `paper_bars` bars
needs     the venue of the settings; live: a person who says for how many minutes orders may leave
leaves    the journal: every bar, target, order, refusal and fill
cadence   `trade/paper`, one at a time; `trade/live` only by hand
failure   run it again: start is recovery
"""

from __future__ import annotations

from prefect import flow

from configs.vocabulary import Mode
from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.live import refuse_unarmed
from tasks.values import Window


@flow(name="trade", flow_run_name="trade-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def trade(profile: str = "demo", candles: list[str] | None = None, armed_minutes: float = 0) -> Window:
    """Trade one window, then stop. `armed_minutes` matters only in live mode, which refuses to begin without it."""
    settings = begin(profile)
    live = settings.mode is Mode.LIVE
    if live:
        refuse_unarmed(armed_minutes)
    stages = chain(settings, "trade", 6 + settings.learning.folds.n_folds, candle_paths(candles))
    market = stages.market()
    research = stages.research(market)
    return stages.trade_live(market, research, armed_minutes) if live else stages.trade(market, research)
