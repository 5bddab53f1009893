"""`tradewind run`: services, the pipeline, and what it says at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from configs.settings import Settings
from tasks.candles import canonical_candles
from tasks.services import ensure_prefect, service_environment, stop_started

if TYPE_CHECKING:
    from tasks.policies import Step
    from tasks.values import Outcome


def run_pipeline(settings: Settings, profile: str, candles: Sequence[str], settings_files: Sequence[str]) -> None:
    """Check the user's files first, start or reuse the local Prefect server, run, and stop what `make up` did not ask to stay."""
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    operations = settings.operations
    os.environ.update(service_environment(operations))
    canonical_candles(candles, operations)
    console.print(f"[bold]tradewind[/bold]  settings {settings.short_hash}, state in {operations.var.resolve()}")
    try:
        ensure_prefect(operations)
        # Prefect reads its settings when it is imported, so whatever imports it comes after the environment.
        from flows.pipeline import pipeline
        from tasks.observe import flush_records
        from tasks.policies import cache_ledger

        try:
            outcome = pipeline(profile=profile, candles=list(candles), settings_files=list(settings_files))
        finally:
            flush_records()
    finally:
        stop_started(operations)
    farewell(console, settings, outcome, cache_ledger())
    console.print(f"[dim]{time.monotonic() - began:.0f} s[/dim]")


def farewell(console: Console, settings: Settings, outcome: Outcome, steps: tuple[Step, ...]) -> None:
    """The decision, what was reused, and where to look."""
    reused = [step.name for step in steps if step.cached]
    operations = settings.operations
    console.print(
        f"cache     {len(reused)} of {len(steps)} cached steps were unchanged and not computed again{': ' if reused else ''}{', '.join(_counted(reused))}"
    )
    resumed = f"resumed from {outcome.resumed_from.isoformat()}" if outcome.resumed_from else "a fresh account"
    console.print(f"paper     {outcome.paper_bars} bars, {outcome.paper_fills} fills, {resumed}")
    console.print(f"[bold]decision[/bold]  {'PROMOTED' if outcome.promoted else 'not promoted'}: model version {outcome.model_version}")
    for reason in outcome.reasons:
        console.print(f"          - {reason}")
    console.print(f"[bold]report[/bold]    {outcome.report}", soft_wrap=True)
    console.print(
        f"look      make up, then Prefect http://127.0.0.1:{operations.prefect_port} and MLflow http://127.0.0.1:{operations.mlflow_port}", soft_wrap=True
    )


def _counted(names: list[str]) -> list[str]:
    """Each name once, with how often."""
    return [f"{name} x{names.count(name)}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
