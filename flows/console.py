"""`tradewind run`: services, the pipeline, and what it says at the end."""

from __future__ import annotations

import os
import time

from rich.console import Console

from configs.settings import Settings
from tasks.market import canonical_candles
from tasks.services import ensure_prefect, service_environment, stop_started


def run_pipeline(settings: Settings, profile: str, candles: tuple[str, ...]) -> None:
    """Check the user's files first, start or reuse the local Prefect server, run, and stop only what this call started."""
    console, began = Console(stderr=True), time.monotonic()
    operations = settings.operations
    canonical_candles(candles, operations.var)
    os.environ.update(service_environment(operations))
    console.print(f"[bold]tradewind[/bold] settings {settings.short_hash}, state in {operations.var.resolve()}")
    server = ensure_prefect(operations)
    try:
        from flows.pipeline import pipeline
        from tasks.policies import cache_ledger

        outcome = pipeline(profile=profile, candles=list(candles))
        hits = cache_ledger()
    finally:
        stop_started(operations, keep_up=True)
    _farewell(console, settings, outcome, (hits, server.url, time.monotonic() - began))


def _farewell(console, settings, outcome, facts) -> None:
    hits, url, seconds = facts
    console.print(f"report    {outcome.report}")
