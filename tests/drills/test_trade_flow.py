"""A live window as a real process: asked to end, killed, followed, out of disk. The exchange's ledger says what really happened."""

from __future__ import annotations

import signal

import pytest

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk.errors import JournalStalled
from tasks.oversight import resume, switch_of
from tasks.stalls import STALLED
from tasks.standing import lease_of
from tasks.values import Market
from tests.drills.traders import Start, approved, booked, each_once, executed, held, ledger, steps_of, still_open, window


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_window_asked_to_end_keeps_positions_and_stops_and_the_next_one_goes_on(operations: OperationsSettings, market: Market, start: Start) -> None:
    """SIGTERM in the middle: the lease is given back, what is open are stops, the process ends by the signal. Then kill -9 in the middle of the next."""
    first = start(12)
    assert "held" == lease_of(operations).state
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    asked = steps_of(operations, market)

    assert -signal.SIGTERM == first.returncode
    assert "free" == lease_of(operations).state
    assert {"STOP_LOSS"} == {order["type"] for order in still_open(operations)}
    assert len(held(operations, market)) == len(still_open(operations)) == 2

    second = start(12)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert "dead" == lease_of(operations).state
    killed = steps_of(operations, market)
    third = window(operations, market, 5)

    assert 5 == third.bars
    assert asked < killed
    assert killed + 5 == steps_of(operations, market)
    assert each_once(operations)
    # What the last orders did is heard at the next start.
    last = {order["clientOrderId"] for order in ledger(operations)[-2 * len(market.symbols) :]}
    assert booked(operations, market) <= executed(operations)
    assert {order_id for order_id, _ in executed(operations) - booked(operations, market)} <= last


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_full_disk_ends_trading_with_a_named_error_and_no_order_is_sent_unwritten(operations: OperationsSettings, market: Market, start: Start) -> None:
    """Every order that the exchange has ever seen stands in the journal: the step that could not be written sent none."""
    trader = start(3, room=150_000)
    _, complaints = trader.communicate(timeout=60)

    assert 1 == trader.returncode
    assert "JournalStalled: expected to append" in complaints
    assert switch_of(operations).read().reason.startswith(f"{STALLED}: expected to append")
    assert len(ledger(operations)) > 5
    assert {order["clientOrderId"] for order in ledger(operations)} <= approved(operations, market)
    assert booked(operations, market) <= executed(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_journal_too_slow_for_its_bound_lets_no_order_leave(operations: OperationsSettings, market: Market) -> None:
    """The first window trades; in the second no entry is on the disk soon enough, which halts the desk. What it wrote before it stopped does no harm
    once a person resumed.
    """
    window(operations, market, 3)
    sent = len(ledger(operations))

    with pytest.raises(JournalStalled, match="found it took"):
        window(operations, market, 3, stall_s=1e-9)

    assert sent == len(ledger(operations))
    assert TradingState.HALTED is switch_of(operations).read().state
    resume(operations, "another disk")
    assert 3 == window(operations, market, 3).bars
    assert each_once(operations)
