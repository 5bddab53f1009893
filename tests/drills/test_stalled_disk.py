"""A disk that takes its time: every fsync of the journal is held back in a real trader, by a library loaded before libc. Stall = halt."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk.events import Control
from tasks.oversight import resume, switch_of
from tasks.stalls import STALLED
from tasks.standing import lease_of
from tasks.values import Market
from tests.drills.traders import ROOT, Start, approved, each_once, held, ledger, steps_of, still_open, window

STALL_S = 0.4
LOOK_EVERY_S = 0.02

# Holds fsync and fdatasync back: the file that STALLS names says for which paths, and for how many milliseconds. Without the file, for none.
SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void held_back(int file) {
    char link[64], path[4096], part[256];
    long milliseconds;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    FILE *stalls = fopen(getenv("STALLS"), "r");
    if (stalls == NULL) return;
    path[length < 0 ? 0 : length] = 0;
    while (fscanf(stalls, "%255s %ld", part, &milliseconds) == 2) {
        struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        if (strstr(path, part) != NULL) nanosleep(&pause, NULL);
    }
    fclose(stalls);
}

int fsync(int file) {
    held_back(file);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
    held_back(file);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
"""


@dataclass(frozen=True)
class Disk:
    """A disk that can be slowed down while somebody writes to it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that shall feel it."""
        return {"LD_PRELOAD": str(self.folder / "slow_disk.so"), "STALLS": str(self.folder / "stalls")}

    def stall(self, **seconds: float) -> None:
        """From now on a sync in these folders takes so long."""
        (self.folder / "fresh").write_text("".join(f"/{folder} {1000 * each:.0f}\n" for folder, each in seconds.items()), encoding="utf-8")
        (self.folder / "fresh").replace(self.folder / "stalls")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Made anew for each test; skipped where nobody can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a slow disk needs a C compiler")
    (tmp_path / "slow_disk.c").write_text(SLOW_DISK, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(tmp_path / "slow_disk.so"), str(tmp_path / "slow_disk.c"), "-ldl"], check=True)
    return Disk(tmp_path)


def halted(operations: OperationsSettings) -> Control:
    """Wait until the switch is turned."""
    pause = threading.Event()
    while switch_of(operations).read().state is not TradingState.HALTED:
        pause.wait(LOOK_EVERY_S)
    return switch_of(operations).read()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_disk_that_hangs_halts_the_desk_while_it_hangs_and_nothing_leaves_until_a_person_resumes(
    operations: OperationsSettings, market: Market, start: Start, disk: Disk
) -> None:
    """The sync would take ten minutes. The switch is turned meanwhile; the process is killed; the next window decides and sends nothing."""
    trader = start(4, environment=disk.environment, stall_s=STALL_S)
    disk.stall(journal=600)
    told = halted(operations)
    hanging = trader.poll() is None, lease_of(operations).state
    trader.send_signal(signal.SIGKILL)
    trader.communicate()
    sent, steps = len(ledger(operations)), steps_of(operations, market)

    refused = window(operations, market, 2)
    unsent = len(ledger(operations))
    resume(operations, "another disk")
    window(operations, market, 2)

    assert (True, "held") == hanging
    assert told.reason.startswith(STALLED)
    assert "is not on the disk after" in told.reason
    assert sent == unsent < len(ledger(operations))
    assert refused.refusals
    assert steps + 4 == steps_of(operations, market)
    assert each_once(operations)
    assert {order["clientOrderId"] for order in ledger(operations)} <= approved(operations, market)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_panic_waits_for_no_disk(operations: OperationsSettings, market: Market, start: Start, disk: Disk) -> None:
    """No sync of the console comes back. The switch shows that in time, so the journal is not touched, and the exchange's word is enough."""
    trader = start(4)
    trader.send_signal(signal.SIGKILL)
    trader.communicate()
    disk.stall(**{"": 600})
    environment = {**os.environ, **disk.environment, "DESK__OPERATIONS__VAR": str(operations.var), "DESK__MARKET__VENUE": "practice"}

    console = [sys.executable, "-m", "flows.cli", "flatten", "--profile", "live"]
    done = subprocess.run(console, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert ["the switch", "the journal"] == [line.split(": ")[0].removeprefix("UNWRITTEN ") for line in done.stdout.splitlines() if "UNWRITTEN" in line]
    assert "is flat and NOT halted" in done.stdout
    assert ({}, []) == (held(operations, market), still_open(operations))
    assert each_once(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_window_ends_even_when_the_switch_stalls_too(operations: OperationsSettings, market: Market, start: Start, disk: Disk) -> None:
    """The journal is slow, the switch hangs: nobody waits for it for ever. It is said, and what was not written in time sent nothing."""
    trader = start(4, environment=disk.environment, stall_s=STALL_S)
    disk.stall(journal=2 * STALL_S, risk=600)
    _, complaints = trader.communicate(timeout=30)

    assert 1 == trader.returncode
    assert "JournalStalled: expected an entry" in complaints
    assert "switch.unwritten" in complaints
    assert "free" == lease_of(operations).state
    assert TradingState.ACTIVE is switch_of(operations).read().state
    assert {order["clientOrderId"] for order in ledger(operations)} <= approved(operations, market)
