"""A journal that stalls halts the desk: the switch is turned while the disk still hangs, and stays turned until a person resumes.

The switch is a file of its own. If it cannot be written either, the window ends all the same, and the log has it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk.chain import Chain, Entry, Head
from desk.clock import WallClock
from desk.errors import DeskError, JournalStalled
from desk.log import event
from desk.risk.switch import Switch
from tasks.oversight import switch_of

STALLED = "the journal stalled"
# The switch is small: a disk that does not take it within this time does not work at all.
HALT_WITHIN_S = 5.0
LOOKS_PER_BOUND, LEAST_PAUSE_S = 4, 0.05


class WatchedChain(Chain):
    """A chain of which others may see for how long it has been writing."""

    _since: float | None = None

    def append(self, entries: Sequence[Entry]) -> Head:
        """Add all entries or none, seen by those who watch."""
        self._since = WallClock().seconds()
        try:
            return super().append(entries)
        finally:
            self._since = None

    @property
    def writing_s(self) -> float:
        """Seconds since the append under way began; 0 when none is."""
        since = self._since
        return 0.0 if since is None else WallClock().seconds() - since


@contextmanager
def halted_by_stalls(operations: OperationsSettings, session_id: str, chain: WatchedChain, stall_s: float) -> Iterator[None]:
    """Run a window whose journal has `stall_s` seconds for an entry. One that takes longer halts the desk, whether it is written in the end or not."""
    watch = _Watch(switch_of(operations), session_id, chain, stall_s)
    watch.start()
    try:
        yield
    except JournalStalled as error:
        watch.halt_for(str(error))
        raise
    finally:
        watch.over()


def written_in_time(write: Callable[[], object]) -> tuple[bool, str]:
    """Write something small: whether the disk hangs, and what went wrong (empty: it is written). A disk that hangs keeps a thread, and nobody else."""
    said: list[str] = []

    def attempt() -> None:
        try:
            write()
            said.append("")
        except (OSError, DeskError) as error:
            said.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=attempt, name="write", daemon=True)
    thread.start()
    thread.join(HALT_WITHIN_S)
    return (False, said[0]) if said else (True, f"not on the disk within {HALT_WITHIN_S:g} s")


class _Watch(threading.Thread):
    """Looks at a chain from beside it, because whoever writes can do nothing else. A daemon: a disk that hangs must not keep the process."""

    def __init__(self, switch: Switch, session_id: str, chain: WatchedChain, stall_s: float) -> None:
        super().__init__(name="stalls", daemon=True)
        self._switch, self._session_id, self._chain, self._stall_s = switch, session_id, chain, stall_s
        self._called, self._why = threading.Event(), ""

    def run(self) -> None:
        """Until the window is over, or the journal stalls."""
        pause = max(self._stall_s / LOOKS_PER_BOUND, LEAST_PAUSE_S)
        while not self._called.wait(pause):
            if (writing_s := self._chain.writing_s) > self._stall_s:
                self._halt(f"an entry of {self._chain.path} is not on the disk after {writing_s:.1f} s")
                return
        if self._why:
            self._halt(self._why)

    def halt_for(self, why: str) -> None:
        """Halt the desk, unless that was done before; returns when it is done, or cannot be."""
        self._why = why
        self._called.set()
        self.join()

    def over(self) -> None:
        """The window is closed."""
        self._called.set()

    def _halt(self, why: str) -> None:
        event("journal.stalled", level="CRITICAL", session=self._session_id, why=why)
        if self._switch.read().state is TradingState.HALTED:
            return
        _, problem = written_in_time(lambda: self._switch.turn(TradingState.HALTED, f"{STALLED}: {why}", WallClock().now()))
        if problem:
            event("switch.unwritten", level="CRITICAL", session=self._session_id, why=problem)
