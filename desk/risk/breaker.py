"""A circuit breaker for one thing we depend on: after too many failures in a row it is left alone, then tried once, and trusted again when that works.

Kept in a file, so that a restart does not begin to hammer again what was left alone a moment ago.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from desk import log
from desk.clock import Clock
from desk.disk import write_whole

OPENS_AFTER = 5
PROBE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Record:
    """Failures in a row, since when it is open (ISO 8601; empty: closed), calls it saved since it opened, and why it did."""

    failures: int = 0
    opened_at: str = ""
    saved: int = 0
    why: str = ""


class Breaker:
    """The breaker called `name`, kept in `folder`. Closed it lets everything through, open nothing, half-open one probe."""

    def __init__(self, name: str, folder: Path, clock: Clock) -> None:
        self._name = name
        self._path = folder / f"{name}.json"
        self._clock = clock
        self._record = self._read()

    def refusal(self) -> str:
        """Why no call may go now; empty when one may. Once the time is up the first to ask is the probe, and the next one waits for as long again."""
        record = self._record
        if not record.opened_at:
            return ""
        now, opened = self._clock.now(), datetime.fromisoformat(record.opened_at)
        if now - opened >= PROBE_AFTER:
            self._keep(replace(record, opened_at=now.isoformat()))
            return ""
        self._record = replace(record, saved=record.saved + 1)
        return f"{self._name} is left alone until {(opened + PROBE_AFTER).isoformat()}: failed {record.failures} times in a row, last with {record.why}"

    def failed(self, why: str) -> None:
        """A call failed, in a way that says something about the other side."""
        failures, open_now = self._record.failures + 1, bool(self._record.opened_at)
        opens = failures >= OPENS_AFTER
        self._keep(replace(self._record, failures=failures, why=why, opened_at=self._clock.now().isoformat() if opens else ""))
        if opens and not open_now:
            log.event("breaker.opened", level="ERROR", dependency=self._name, failures=failures, why=why)

    def succeeded(self) -> None:
        """A call was answered."""
        if self._record.opened_at:
            log.event("breaker.closed", dependency=self._name, calls_saved=self._record.saved)
        if self._record.failures:
            self._keep(_Record())

    def described(self) -> str:
        """How it stands, in words."""
        record = self._record
        failures = f"{record.failures} failures in a row" + (f", last with {record.why}" if record.why else "")
        return f"open since {record.opened_at}, {failures}" if record.opened_at else f"closed, {failures}"

    def _read(self) -> _Record:
        try:
            return _Record(**json.loads(self._path.read_text(encoding="utf-8")))
        # A breaker that forgot is closed: it will learn again within a few calls.
        except (OSError, ValueError, TypeError):
            return _Record()

    def _keep(self, record: _Record) -> None:
        self._record = record
        write_whole(self._path, json.dumps(asdict(record)))
