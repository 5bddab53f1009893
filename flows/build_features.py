"""Clean bars to a features table, every feature proven causal.

does      bring clean bars up to date, compute the recipe, prove it, store it
needs     the venue of the settings
leaves    a version of the features table, certificates
cadence   `build-features/on-ingest`, after each completed ingest
failure   run it again
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin, candle_paths
from flows.stages import chain
from tasks.features import build_features as build
from tasks.hooks import on_crashed, on_failed
from tasks.ingest import ingest_candles
from tasks.validate import validate_bars
from tasks.values import Features


@flow(name="build-features", flow_run_name="build-features-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def build_features(profile: str = "demo", candles: list[str] | None = None) -> Features:
    """Compute the recipe over the clean table."""
    settings = begin(profile)
    stages = chain(settings, "build-features", 4, candle_paths(candles))
    market = stages.market()
    raw = stages.progress.step("ingest candles", ingest_candles, market, settings.operations)
    validated = stages.progress.step("validate bars", validate_bars, raw, market, settings.operations)
    return stages.progress.step("build features", build, validated, settings.learning.recipe, settings.operations)
