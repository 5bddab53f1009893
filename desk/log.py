"""Logging: an event name and its fields, in one schema, with nothing secret.

`event("order.refused", symbol="BTC/USDT", guard="drawdown")` is all that other modules use. `configure` is called once per process, at the
edge. What must not be seen is removed by one patcher before any sink sees the record (`desk/redaction.py` says what that is), and by a filter
on the handlers of the standard library, which bypass loguru. One process, one log file: rotation is not safe between processes.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger

from desk.redaction import clean, clean_text
from desk.redaction import register_secret as register_secret

if TYPE_CHECKING:
    from loguru import Message, Record

Bridge = Callable[[int | str, str], None]

_CONTEXT = ("run_id", "flow", "settings", "mode")
_forwarding: ContextVar[bool] = ContextVar("forwarding to the bridge", default=False)


def event(name: str, *, level: str = "INFO", error: BaseException | None = None, **fields: Any) -> None:
    """Log one event: a dotted past participle (`order.refused`) and its key-values; `error` adds its traceback."""
    logger.bind(fields=fields).opt(exception=error).log(level, name)


def bind(**context: str) -> AbstractContextManager[None]:
    """Add `run_id`, `flow`, `settings`, `mode` or any other word to every event inside the `with` block, in this thread or task."""
    return logger.contextualize(**context)


def configure(
    level: str = "INFO",
    fmt: Literal["pretty", "json"] = "pretty",
    log_file: Path | None = None,
    *,
    bridge: Bridge | None = None,
    context: Mapping[str, str] | None = None,
    rotate_at: str = "20 MB",
    files_kept: int = 10,
) -> None:
    """Send events to the terminal (stderr) and, as JSON lines with rotation, to `log_file`; may be called again.

    `context` (run_id, flow, settings, mode) stands on every event of the process. `bridge(level number, line)` receives every one, in
    the thread that logged it: a task passes its orchestrator's run logger. Records of the standard library join in, redacted, under the event name `log`.
    """
    logger.remove()
    logger.configure(patcher=_redact, extra=dict(context or {}))
    logger.add(
        _to_terminal,
        level=level,
        format=_pretty if fmt == "pretty" else _json,
        colorize=fmt == "pretty" and sys.stderr.isatty(),
        diagnose=False,
        backtrace=False,
    )
    if log_file is not None:
        logger.add(log_file, level="DEBUG", format=_json, rotation=rotate_at, retention=files_kept, compression="gz", diagnose=False, backtrace=False)
    if bridge is not None:
        logger.add(_forward_to(bridge), level=level, format="{message}", diagnose=False, backtrace=False)
    _take_over_the_standard_library()


def _to_terminal(message: Message) -> None:
    # sys.stderr is looked up at each line, not once: a progress bar on the terminal replaces it while it is drawn
    sys.stderr.write(message)


def _redact(record: Record) -> None:
    """Loguru patcher: the record as every sink will see it. The traceback becomes redacted text, so that no sink can print the original."""
    failure = record["exception"]
    record["exception"] = None
    record["message"] = clean_text(record["message"])
    extra = clean(record["extra"])
    forwardable = not extra.pop("from_standard_library", False)
    line: dict[str, Any] = {
        "time": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "event": record["message"],
    }
    line |= {name: extra.pop(name, None) for name in _CONTEXT}
    fields = extra.pop("fields", {})
    line["fields"] = extra | fields
    if failure is not None and failure.type is not None:
        line["exception"] = clean_text("".join(traceback.format_exception(failure.type, failure.value, failure.traceback)))
    record["extra"] = {"line": line, "forwardable": forwardable}


def _json(record: Record) -> str:
    # braces and angle brackets of the text must not be taken for loguru's own markup: the template names a value instead
    record["extra"]["text"] = json.dumps(record["extra"]["line"], ensure_ascii=False)
    return "{extra[text]}\n"


def _pretty(record: Record) -> str:
    record["extra"]["text"] = _shown(record["extra"]["line"])
    return "<level>{extra[text]}</level>\n"


def _shown(line: dict[str, Any]) -> str:
    pairs = " ".join(f"{name}={value}" for name, value in line["fields"].items())
    text = f"{line['time'][11:19]} {line['level']:<7} {line['event']:<20} {pairs}".rstrip()
    return text + (f"\n{line['exception']}" if "exception" in line else "")


def _forward_to(bridge: Bridge) -> Callable[[Message], None]:
    def forward(message: Message) -> None:
        record = message.record
        if not record["extra"]["forwardable"]:
            return
        token = _forwarding.set(True)
        try:
            bridge(record["level"].no, _shown(record["extra"]["line"])[len("00:00:00 ") :])
        finally:
            _forwarding.reset(token)

    return forward


class _Redactor(logging.Filter):
    """Removes secrets from records of the standard library; a record without any is left as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite, never drop."""
        said = record.getMessage()
        cleaned = clean_text(said)
        if cleaned != said:
            record.msg, record.args = cleaned, None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = clean_text("".join(traceback.format_exception(*record.exc_info))).rstrip()
            record.exc_info = None
        return True


class _Intercept(logging.Handler):
    """Hands records of the standard library to loguru, unless they came from there."""

    def emit(self, record: logging.LogRecord) -> None:
        """One event named `log` with the logger's name and its message."""
        if _forwarding.get():
            return
        known = record.levelname in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        said = {"logger": record.name, "message": record.getMessage()} | ({"traceback": record.exc_text} if record.exc_text else {})
        logger.bind(from_standard_library=True, fields=said).log(record.levelname if known else record.levelno, "log")


def _take_over_the_standard_library() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Intercept) for handler in root.handlers):
        root.addHandler(_Intercept())
    loggers = [root, *(known for known in logging.root.manager.loggerDict.values() if isinstance(known, logging.Logger))]
    for handler in {handler for known in loggers for handler in known.handlers}:
        if not any(isinstance(present, _Redactor) for present in handler.filters):
            handler.addFilter(_Redactor())
