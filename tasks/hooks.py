"""State hooks and the bridge from our log to Prefect's. A worker calls hooks by keyword: the argument names are part of the contract."""

from __future__ import annotations

import logging
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from desk.log import event
from desk.redaction import clean_text


def on_failed(flow: Any, flow_run: Any, state: Any) -> None:
    """One line, and an artifact that says what to do. A run that no deployment made has a caller: the console says the words, once."""
    _announce("flow.failed", flow, flow_run, state if flow_run.deployment_id else None)
    create_markdown_artifact(key="failure", markdown=failure_page(flow.name, flow_run.name, str(state.message)), description=f"{flow.name} failed")


def on_crashed(flow: Any, flow_run: Any, state: Any) -> None:
    """The process died; what it had finished is kept."""
    _announce("flow.crashed", flow, flow_run, state)


def announce_safe_mode(session_id: str, reason: str) -> None:
    """An event for automations, which page a person. Outside a run there is nobody to tell but the log."""
    if flow_run.get_id() is not None:
        emit_event("tradewind.safe-mode", resource={"prefect.resource.id": f"tradewind.session.{session_id}"}, payload={"reason": clean_text(reason)})


def announce_foreign_activity(session_id: str, reason: str) -> None:
    """The same for orders and trades on the account that nobody here made."""
    if flow_run.get_id() is not None:
        emit_event("tradewind.foreign-activity", resource={"prefect.resource.id": f"tradewind.session.{session_id}"}, payload={"reason": clean_text(reason)})


def failure_page(flow: str, run: str, message: str) -> str:
    """What failed, why, and what to do, as Markdown; nothing secret in it: artifacts pass no log sink."""
    return "\n".join(
        (
            f"# {flow} failed",
            "",
            f"Run `{run}`:",
            "",
            "```text",
            clean_text(message).replace("```", "'''"),
            "```",
            "",
            "Mend the cause, then run it again: finished steps are kept, the paper account resumes from its journal.",
            "",
        )
    )


def forward_to_run_log(level: int | str, message: str) -> None:
    """Send one log line to the run log in Prefect's UI; outside a run there is none, and the line stays with the other sinks."""
    number = level if isinstance(level, int) else logging.getLevelNamesMapping()[level]
    try:
        get_run_logger().log(number, message)
    except MissingContextError:
        return


def _announce(name: str, flow: Any, flow_run: Any, state: Any) -> None:
    words: dict[str, Any] = {} if state is None else {"state_message": str(state.message)}
    event(name, level="ERROR", flow_name=flow.name, flow_run=flow_run.name, flow_run_id=str(flow_run.id), **words)
