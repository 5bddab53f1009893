"""The log of a flow run: context bound once, forwarded to Prefect's run log, and the steps a person can follow."""

from __future__ import annotations

import logging

from configs.operations import OperationsSettings
from desk import log
from tasks.hooks import forward_to_run_log


def start_logging(operations: OperationsSettings, **context: str) -> None:
    """Configure the sinks and bind run, flow, settings and mode ids to every later line."""
    # One process writes one file: rotation is not safe between processes.
    target = operations.var / "log" / f"{context['flow']}.jsonl"
    log.configure(operations.log_level, operations.log_format, target, bridge=forward_to_run_log, context=context)
    quiet_prefect_console()


def quiet_prefect_console() -> None:
    """Our terminal sink tells the story once; Prefect keeps its own record through the API handler."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        for handler in [h for h in logger.handlers if type(h).__name__ == "PrefectConsoleHandler"]:
            logger.removeHandler(handler)


def step_started(title: str, done: int, steps: int) -> None:
    """One line before a step that may take a while."""
    log.event("step.started", step=f"{done + 1}/{steps}", title=title)


def step_done(title: str, done: int, steps: int) -> None:
    """One line after it."""
    log.event("step.done", step=f"{done}/{steps}", title=title)
