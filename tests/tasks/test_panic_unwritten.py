"""The operator's word when the journal cannot be believed, or nothing can be written at all. The exchange's own ledger is the oracle."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.vocabulary import TradingState
from desk.errors import ForeignActivity
from tasks.oversight import resume, switch_of
from tasks.panic import close_everything
from tasks.sentry import acknowledge
from tasks.values import Market
from tests.drills.traders import MARKET, ROOT, booked, each_once, held, journal_of, still_open, traders, window


@pytest.fixture
def journal(operations: OperationsSettings, market: Market) -> Path:
    """That of a trader that was killed (-9) with positions and resting stops."""
    with traders(operations, market) as start:
        trader = start(5)
        trader.send_signal(signal.SIGKILL)
        trader.communicate()
    assert 2 == len(held(operations, market))
    assert still_open(operations)
    return journal_of(operations, market)


def an_entry_is_changed(journal: Path) -> None:
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE chain SET payload = replace(payload, '\"fills\"', '\"filis\"') WHERE sequence = 4")
    db.close()


def pages_are_noise(journal: Path) -> None:
    """All but the first page, and no log that could mend them."""
    with sqlite3.connect(journal) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    whole = journal.read_bytes()
    journal.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", [an_entry_is_changed, pages_are_noise])
def test_a_damaged_journal_stops_no_panic(damage: Callable[[Path], None], operations: OperationsSettings, market: Market, journal: Path) -> None:
    """Everything is cancelled and closed by what the exchange says. The file is left as the evidence that it is, and does not keep `status` from telling."""
    damage(journal)
    evidence = journal.read_bytes()

    done = close_everything(MARKET, RiskSettings(), operations, "settings-1", "drill")

    assert (True, {}, "") == (done.flat, done.left, done.differences)
    assert 2 <= len(done.closed)
    assert ({}, []) == (held(operations, market), still_open(operations))
    assert each_once(operations)
    (said,) = done.unwritten
    assert said.startswith("the journal: ")
    assert said.endswith("everything is closed by what the exchange says")
    assert TradingState.HALTED is switch_of(operations).read().state
    assert evidence == journal.read_bytes()
    words = console(operations, "status")
    assert ("", 0) == (words.stderr, words.returncode)
    assert ("BROKEN" in words.stdout) == (damage is pages_are_noise)


def nothing_can_be_written() -> None:
    """As on a full disk: no file of this process may hold a byte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def console(operations: OperationsSettings, *words: str, room: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DESK__OPERATIONS__VAR": str(operations.var), "DESK__MARKET__VENUE": "practice"}
    command = [sys.executable, "-m", "flows.cli", *words, "--profile", "live"]
    refusal = None if room else nothing_can_be_written
    return subprocess.run(command, cwd=ROOT, env=environment, preexec_fn=refusal, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_on_a_full_disk_everything_is_closed_and_what_could_not_be_written_is_said(operations: OperationsSettings, market: Market, journal: Path) -> None:
    """The switch, the lease and the journal cannot be written. The lock is free, because the trader is dead: that is permission enough. Once there is
    room again, the session does not know its own panic's trades, says so, and trades on when a person took note of them.
    """
    before = booked(operations, market)
    done = console(operations, "flatten", "--json", room=False)

    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert ({}, "", False) == (told["left"], told["differences"], told["halted"])
    assert ["the switch", "the lease", "the journal"] == [line.partition(":")[0] for line in told["unwritten"]]
    assert 3 == done.stderr.count("panic.unwritten")
    assert ({}, []) == (held(operations, market), still_open(operations))
    assert each_once(operations)
    assert before == booked(operations, market)

    with pytest.raises(ForeignActivity):
        window(operations, market, 3)
    acknowledge(operations, "the panic on the full disk")
    if TradingState.HALTED is switch_of(operations).read().state:
        resume(operations, "room again")

    assert 3 == window(operations, market, 3).bars
    assert 2 == len(held(operations, market))
