"""State hooks and the bridge from our log to Prefect's. A worker calls hooks by keyword: the argument names are part of the contract."""

from __future__ import annotations

import logging
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from desk.log import event


def on_failed(flow: Any, flow_run: Any, state: Any) -> None:
    """One line, and an artifact that says what to do."""
    event("flow.failed", level="ERROR", flow_name=flow.name, flow_run=str(flow_run.id), state_message=str(state.message))
    create_markdown_artifact(
        key="failure", markdown=f"# {flow.name} failed\n\n{state.message}\n\nMend the cause, then run it again: finished steps are kept.\n"
    )


def on_crashed(flow: Any, flow_run: Any, state: Any) -> None:
    """The process died; what it had finished is kept."""
    event("flow.crashed", level="ERROR", flow_name=flow.name, flow_run=str(flow_run.id), state_message=str(state.message))


def forward_to_run_log(level: int | str, message: str) -> None:
    """Send one log line to the run log in Prefect's UI; outside a run there is none, and the line stays with the other sinks."""
    number = level if isinstance(level, int) else logging.getLevelNamesMapping()[level]
    try:
        get_run_logger().log(number, message)
    except MissingContextError:
        return
