"""The log of a flow run: context bound once, forwarded to Prefect's run log, and the steps a person can follow."""

from __future__ import annotations

import logging

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from configs.operations import OperationsSettings
from desk import log
from tasks.hooks import forward_to_run_log

FLUSH_TIMEOUT_S = 10
# How Prefect's run loggers begin to tell, with a traceback, of a failure that the flow's caller is about to hear.
TOLD_AGAIN = ("Encountered exception during execution", "Finished in state")


def start_logging(operations: OperationsSettings, **context: str) -> None:
    """Configure the sinks and bind run, flow, settings and mode ids to every later line."""
    # One process writes one file: rotation is not safe between processes.
    target = operations.var / "log" / f"{context['flow']}.jsonl"
    log.configure(operations.log_level, operations.log_format, target, bridge=forward_to_run_log, context=context)
    quiet_prefect_console()


def quiet_prefect_console() -> None:
    """Our terminal sink tells the story once: Prefect's own lines stay in its record, which its API handler keeps, and only warnings join ours."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each).__name__ == "PrefectConsoleHandler"]:
        root.removeHandler(handler)
    for handler in root.handlers:
        handler.setLevel(logging.WARNING)
        handler.addFilter(_tell_failures_once)
    for worker in (APILogWorker, EventsWorker):
        logging.getLogger(worker.__name__).setLevel(logging.ERROR)


def _tell_failures_once(record: logging.LogRecord) -> bool:
    """Logging filter: a failure that Prefect repeats becomes DEBUG, kept with its traceback in our log file and off the terminal."""
    if record.name.startswith(("prefect.flow_runs", "prefect.task_runs")) and record.getMessage().startswith(TOLD_AGAIN):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return True


def step_started(title: str, done: int, steps: int) -> None:
    """One line before a step that may take a while."""
    log.event("step.started", step=f"{done + 1}/{steps}", title=title)


def step_done(title: str, done: int, steps: int) -> None:
    """One line after it."""
    log.event("step.done", step=f"{done}/{steps}", title=title)


def flush_records() -> None:
    """Send what Prefect still holds of logs and events while its server is up: afterwards it would wait a minute for one that is gone."""
    APILogWorker.drain_all(timeout=FLUSH_TIMEOUT_S)
    EventsWorker.drain_all(timeout=FLUSH_TIMEOUT_S)
