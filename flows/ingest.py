"""Bring the raw and clean tables up to date.

does      open the market, fetch every closed bar the lake lacks, admit it through the bars contract
needs     the venue of the settings
leaves    new versions of raw/bars and clean/bars, only when something changed
cadence   `ingest/hourly`
failure   run it again: the cursor is the table itself
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.hooks import on_crashed, on_failed
from tasks.ingest import ingest_candles
from tasks.validate import validate_bars
from tasks.values import Validated


@flow(name="ingest", flow_run_name="ingest-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def ingest(profile: str = "demo", candles: list[str] | None = None) -> Validated:
    """Fetch and validate."""
    settings = begin(profile)
    stages = chain(settings, "ingest", 3, candle_paths(candles))
    market = stages.market()
    raw = stages.progress.step("ingest candles", ingest_candles, market, settings.operations)
    return stages.progress.step("validate bars", validate_bars, raw, market, settings.operations)
