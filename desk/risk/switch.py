"""The kill switch: one small file that the console writes and every trading process reads before it sends.

Written whole or not at all, kept until a person resumes. A file that cannot be read counts as HALTED: nobody can tell what it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from configs.vocabulary import TradingState
from desk.disk import write_whole
from desk.errors import ContractBroken
from desk.events import ACTIVE, Control
from desk.risk.state import CUES, Cue, transition

# What tells a session how it is to trade: at the close of a bar (its instant), and again (True) when it is about to send.
Watch = Callable[[datetime, bool], Control]


def unwatched(closed_at: datetime, sending: bool) -> Control:
    """Nobody says anything: backtests, and sessions of one's own."""
    return ACTIVE


class Switch:
    """The switch at `path`. Without a file everything is ACTIVE."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Control:
        """What it says now."""
        try:
            row = json.loads(self._path.read_text(encoding="utf-8"))
            return Control(TradingState(row["state"]), str(row["reason"]), int(row["resumed"]))
        except FileNotFoundError:
            return ACTIVE
        except (OSError, ValueError, TypeError, KeyError) as error:
            return Control(TradingState.HALTED, f"{self._path} cannot be read ({type(error).__name__}: {error}): say tradewind resume to write it anew", 0)

    def turn(self, state: TradingState, reason: str, at: datetime) -> Control:
        """Say REDUCING or HALTED. A halted desk cannot be told to reduce: resume first."""
        now = self.read()
        for cue in CUES[state]:
            transition(now.state, cue)
        return self._write(Control(state, reason, now.resumed), at)

    def resume(self, reason: str, at: datetime) -> Control:
        """Say ACTIVE: the only way back. It needs a reason, for whoever reads the journal later."""
        if not reason.strip():
            raise ContractBroken("expected a reason to resume, found none: tradewind resume --reason '...'")
        now = self.read()
        return self._write(Control(transition(now.state, Cue.RESUME), reason, self._resumed(at)), at)

    def _resumed(self, at: datetime) -> int:
        # Milliseconds rather than a count: even when the file was lost, a resume is later than the one before it.
        return max(self.read().resumed + 1, int(at.timestamp() * 1000))

    def _write(self, control: Control, at: datetime) -> Control:
        row = {"state": control.state.value, "reason": control.reason, "resumed": control.resumed, "at": at.isoformat()}
        write_whole(self._path, json.dumps(row))
        return control
