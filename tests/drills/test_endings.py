"""SIGTERM at awkward moments: an entry rests at the exchange, a paper window waits for the market. What is saved is whole, and the next window goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.operations import OperationsSettings
from desk.books.journal import Journal, Step
from desk.chain import Chain
from tasks.market import open_market
from tasks.services.processes import stop
from tasks.standing import lease_of
from tasks.values import Market
from tests.drills.traders import MARKET, Start, booked, each_once, executed, held, journal_of, ledger, steps_of, still_open, window

LOOK_EVERY_S = 0.02


def resting_entry(operations: OperationsSettings) -> dict[str, Any]:
    """Wait until a limit order to buy rests at the exchange."""
    pause = threading.Event()
    while True:
        found = [order for order in still_open(operations) if (order["type"], order["side"]) == ("LIMIT", "BUY")]
        if found:
            return found[0]
        pause.wait(LOOK_EVERY_S)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_window_asked_to_end_while_an_entry_rests_cancels_it_and_keeps_the_stops(operations: OperationsSettings, market: Market, start: Start) -> None:
    """Every order rests at the touch before it crosses; the signal comes while one to buy rests. The step is carried out, then nothing of ours is open
    but stops; what is written is whole, and the next window finds everything that was executed.
    """
    trader = start(2, slice_s=0.2)
    entry = resting_entry(operations)
    trader.send_signal(signal.SIGTERM)
    _, complaints = trader.communicate(timeout=30)
    asked = steps_of(operations, market)
    left = {order["clientOrderId"] for order in still_open(operations)}

    assert -signal.SIGTERM == trader.returncode, complaints
    assert "window.ended" in complaints
    assert "free" == lease_of(operations).state
    assert {"STOP_LOSS"} == {order["type"] for order in still_open(operations)}
    assert len(held(operations, market)) == len(left) == 2
    assert ["CANCELED"] == [order["status"] for order in ledger(operations) if order["clientOrderId"] == entry["clientOrderId"]]

    after = window(operations, market, 3, slice_s=0.05)

    assert 3 == after.bars
    assert asked + 3 == steps_of(operations, market)
    assert each_once(operations)
    # The orders of the last step rest under ids of their slices; what they did is heard at the next start.
    assert {trade for _, trade in booked(operations, market)} <= {trade for _, trade in executed(operations)}


def told(operations: OperationsSettings, market: Market) -> tuple[Step, ...]:
    """Every step of the paper journal, verified."""
    with Chain.reading(journal_of(operations, market, "paper")) as chain:
        chain.verify()
        return Journal(chain, "").steps()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[OperationsSettings]:
    """Another installation, on which nobody interrupts anything."""
    operations = OperationsSettings(var=tmp_path / "elsewhere")
    yield operations
    stop(operations, "exchange")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_paper_windows_asked_to_end_and_gone_on_with_decide_like_one_that_nobody_asked(
    operations: OperationsSettings, market: Market, start: Start, elsewhere: OperationsSettings
) -> None:
    """Ended twice, each time by SIGTERM in the middle; then a window to the end. Every hash of a decision and every fill are those of one long window."""
    counts = []
    for closes in (4, 9):
        trader = start(closes, mode="paper")
        trader.send_signal(signal.SIGTERM)
        _, complaints = trader.communicate(timeout=30)
        assert -signal.SIGTERM == trader.returncode, complaints
        counts.append(len(told(operations, market)))
    last = window(operations, market, 5, mode="paper")

    whole = window(elsewhere, open_market.fn(MARKET, elsewhere, ()), counts[-1] + 5, mode="paper")

    assert 0 < counts[0] < counts[1]
    assert last.resumed_from == told(operations, market)[counts[1] - 1].closed_at
    assert (whole.bars, whole.ended_at, whole.equity) == (counts[-1] + 5, last.ended_at, last.equity)
    mended, straight = told(operations, market), told(elsewhere, market)
    assert [step.decision_hash for step in straight] == [step.decision_hash for step in mended]
    assert [step.fills for step in straight] == [step.fills for step in mended]
    assert sum(len(step.fills) for step in straight) > 10
