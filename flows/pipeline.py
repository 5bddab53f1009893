"""The whole chain on one page.

does      ingest -> validate -> features -> walk-forward training -> backtest -> promotion -> a paper window -> report
needs     nothing: the practice exchange is started on loopback when the settings name it
leaves    lake tables, artefacts, MLflow runs and versions, the paper journal, a report; all under `operations.var`
cadence   by hand (`make run`), or the `pipeline/demo` deployment
failure   run it again: finished steps are not computed twice, the paper account resumes from its journal
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.report import write_report
from tasks.values import Outcome, Verdict

# Steps besides the folds: market, ingest, validate, features, the model to trade, backtest, promotion, paper, report.
STEPS = 9


@flow(name="pipeline", flow_run_name="pipeline-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def pipeline(profile: str = "demo", candles: list[str] | None = None, settings_files: list[str] | None = None) -> Outcome:
    """Run everything from candles to report once; `settings_files` lie over the profile."""
    settings = begin(profile, settings_files=settings_files)
    stages = chain(settings, "pipeline", STEPS + settings.learning.folds.n_folds, candle_paths(candles))
    market = stages.market()
    research = stages.research(market)
    tested = stages.backtest(market, research)
    promoted = stages.promote(tested, research)
    window = stages.trade(market, research)
    verdict = Verdict(tested=tested, promoted=promoted, window=window)
    return stages.progress.step("write the report", write_report, market, research, verdict, stages.rules, settings.operations)
