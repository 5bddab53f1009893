"""What every flow does first: read the settings, start the log, open the market. And how it shows its progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from configs.settings import Settings, load
from tasks.observe import start_logging, step_done, step_started
from tasks.retrospect import approved_search

P = ParamSpec("P")
T = TypeVar("T")


def begin(profile: str, overrides: dict[str, Any] | None = None, settings_files: Sequence[str] | None = None) -> Settings:
    """Settings of this run, with the log bound to its run, flow and settings ids."""
    settings = read_settings(profile, overrides, settings_files)
    context = FlowRunContext.get()
    flow = context.flow.name if context and context.flow else "console"
    run_id = str(context.flow_run.id) if context and context.flow_run else "none"
    start_logging(settings.operations, run_id=run_id, flow=flow, settings=settings.short_hash, mode=str(settings.mode))
    return settings


def read_settings(profile: str, overrides: dict[str, Any] | None = None, settings_files: Sequence[str] | None = None) -> Settings:
    """The profile, under the search that the last retrospective approved, if there is one, under the user's own files."""
    files = list(settings_files or ())
    approved = approved_search(load(profile, extra_files=files).operations)
    return load(profile, overrides=overrides, extra_files=[*([approved] if approved.exists() else []), *files])


@dataclass
class Progress:
    """Counts the steps of a flow: a line each in the log, a bar on a terminal, one progress artifact in Prefect's UI."""

    steps: int
    name: str
    done: int = 0
    _artifact: Any = field(default=None, repr=False)
    _bar: Bar | None = field(default=None, repr=False)

    def step(self, title: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one step and advance."""
        self._show(title)
        step_started(title, self.done, self.steps)
        try:
            result = call(*args, **kwargs)
        except BaseException:
            self._close()
            raise
        self.done += 1
        update_progress_artifact(artifact_id=self._artifact, progress=100.0 * self.done / self.steps)
        step_done(title, self.done, self.steps)
        if self.done >= self.steps:
            self._close()
        return result

    def _show(self, title: str) -> None:
        if self._artifact is None:
            self._artifact = create_progress_artifact(progress=0.0, key=self.name, description=f"{self.name}: {self.steps} steps")
        if self._bar is None and sys.stderr.isatty():
            self._bar = Bar(
                SpinnerColumn(), "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._bar.add_task(title, total=self.steps)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, description=title)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def candle_paths(candles: Sequence[str] | None) -> tuple[str, ...]:
    """Absolute candle patterns: a worker may run a flow from another folder."""
    return tuple(os.path.abspath(pattern) for pattern in candles or ())
