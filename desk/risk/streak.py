"""Safe mode: after three errors in a row nothing is sent any more until a person resumes. Counted across restarts, because an error ends a window."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from configs.vocabulary import TradingState
from desk import log
from desk.disk import write_whole
from desk.risk.switch import Switch

LIMIT = 3


class Streak:
    """Errors in a row of one trading session: of its steps, or of its start. A step that was carried out ends the row."""

    def __init__(self, path: Path, switch: Switch) -> None:
        self._path = path
        self._switch = switch

    def failed(self, why: str, at: datetime) -> bool:
        """Count one error; whether it was the one that turned the switch to HALTED."""
        errors = self._count() + 1
        self._keep(errors)
        if errors < LIMIT or self._switch.read().state is TradingState.HALTED:
            return False
        self._switch.turn(TradingState.HALTED, f"safe mode after {errors} errors in a row, the last one: {why}", at)
        log.event("safe_mode.entered", level="CRITICAL", errors=errors, why=why)
        return True

    def succeeded(self) -> None:
        """A step was carried out."""
        if self._count():
            self._keep(0)

    def _count(self) -> int:
        try:
            return int(json.loads(self._path.read_text(encoding="utf-8"))["errors"])
        except FileNotFoundError:
            return 0
        # What cannot be read cannot be trusted to be few.
        except (OSError, ValueError, TypeError, KeyError):
            return LIMIT - 1

    def _keep(self, errors: int) -> None:
        write_whole(self._path, json.dumps({"errors": errors}))
