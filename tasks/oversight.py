"""The operator's side of trading: the kill switch, safe mode, breakers. Where their files lie, and how a window is run under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk.books.journal import Step
from desk.clock import WallClock
from desk.errors import DeskError, GateClosed, JournalStalled
from desk.events import Control
from desk.risk.breaker import Breaker
from desk.risk.streak import Streak
from desk.risk.switch import Switch


def switch_of(operations: OperationsSettings) -> Switch:
    """The kill switch of this installation: one for every session on it."""
    return Switch(_folder(operations) / "switch.json")


def halt(operations: OperationsSettings, reason: str, *, reduce: bool) -> Control:
    """Stop every session of this installation from sending; with `reduce` only from opening positions."""
    return switch_of(operations).turn(TradingState.REDUCING if reduce else TradingState.HALTED, reason, WallClock().now())


def resume(operations: OperationsSettings, reason: str) -> Control:
    """Let them send again."""
    return switch_of(operations).resume(reason, WallClock().now())


def breaker_of(operations: OperationsSettings, dependency: str) -> Breaker:
    """The breaker of one dependency: venue_orders, venue_reads, data_source."""
    return Breaker(dependency, _folder(operations) / "breakers", WallClock())


@dataclass(slots=True)
class Oversight:
    """What watches one session: the switch, the age of its data against `now` (the market's), and its errors in a row."""

    switch: Switch
    streak: Streak
    max_age_s: float
    now: Callable[[], datetime]
    _stale: bool = field(default=False)

    def watch(self, closed_at: datetime, sending: bool) -> Control:
        """How the session is to trade. The age of its data is looked at once for each close."""
        if not sending:
            self._stale = bool(self.max_age_s) and (self.now() - closed_at).total_seconds() > self.max_age_s
        return replace(self.switch.read(), stale=self._stale)

    def refusal(self) -> str:
        """Why no order may leave at this very moment; empty when one may."""
        told = self.switch.read()
        return f"halted: {told.reason}" if told.state is TradingState.HALTED else ""

    def saw(self, step: Step) -> None:
        """A step was carried out."""
        self.streak.succeeded()


@contextmanager
def overseen(operations: OperationsSettings, session_id: str, max_age_s: float, now: Callable[[], datetime]) -> Iterator[Oversight]:
    """Run a window: an error of its start or of a step counts, three in a row halt the desk and tell whoever listens. A closed gate is no error,
    and a journal that stalls halts by itself.
    """
    oversight = Oversight(switch_of(operations), Streak(_folder(operations) / f"errors-{session_id}.json", switch_of(operations)), max_age_s, now)
    try:
        yield oversight
    except (GateClosed, JournalStalled):
        raise
    except (DeskError, ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        if oversight.streak.failed(f"{type(error).__name__}: {error}", WallClock().now()):
            # The console turns the switch without waiting for Prefect to be imported.
            from tasks.hooks import announce_safe_mode

            announce_safe_mode(session_id, oversight.switch.read().reason)
        raise


def _folder(operations: OperationsSettings) -> Path:
    return operations.var / "risk"
