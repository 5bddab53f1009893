"""The kill switch outlives whoever turned it, and what it cannot say it says as HALTED."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.vocabulary import TradingState
from desk.errors import ContractBroken, GateClosed
from desk.events import ACTIVE, Control
from desk.risk.streak import LIMIT, Streak
from desk.risk.switch import Switch

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path / "risk" / "switch.json")


def test_without_a_file_everything_may_be_sent(switch: Switch) -> None:
    assert ACTIVE == switch.read()


def test_a_halt_is_seen_by_whoever_reads_the_file_next(switch: Switch, tmp_path: Path) -> None:
    switch.turn(TradingState.HALTED, "fire drill", NOON)

    assert Control(TradingState.HALTED, "fire drill") == Switch(tmp_path / "risk" / "switch.json").read()
    assert ["switch.json"] == os.listdir(tmp_path / "risk")


def test_a_halted_desk_is_not_made_to_reduce(switch: Switch) -> None:
    switch.turn(TradingState.HALTED, "fire", NOON)

    with pytest.raises(GateClosed, match="resume first"):
        switch.turn(TradingState.REDUCING, "less fire", NOON)

    assert TradingState.HALTED is switch.read().state


def test_resuming_takes_a_reason_and_is_counted(switch: Switch) -> None:
    switch.turn(TradingState.REDUCING, "smoke", NOON)
    with pytest.raises(ContractBroken, match="reason"):
        switch.resume("  ", NOON)

    first, second = switch.resume("no smoke", NOON), switch.resume("still none", NOON)

    assert (TradingState.ACTIVE, "no smoke") == (first.state, first.reason)
    assert second.resumed > first.resumed > 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "asleep", "reason": "", "resumed": 0}', '{"state": "active"}'])
def test_a_file_that_cannot_be_read_halts(switch: Switch, tmp_path: Path, content: str) -> None:
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "switch.json").write_text(content)

    assert TradingState.HALTED is switch.read().state
    assert TradingState.ACTIVE is switch.resume("written anew", NOON).state
    assert TradingState.ACTIVE is switch.read().state


def test_three_errors_in_a_row_halt_across_restarts(switch: Switch, tmp_path: Path) -> None:
    """Each error ends a process: the next one counts on."""
    tripped = [Streak(tmp_path / "errors.json", switch).failed(f"error {number}", NOON) for number in range(1, LIMIT + 2)]

    assert [False, False, True, False] == tripped
    assert TradingState.HALTED is switch.read().state
    assert "error 3" in switch.read().reason


def test_a_step_between_errors_ends_the_row(switch: Switch, tmp_path: Path) -> None:
    streak = Streak(tmp_path / "errors.json", switch)
    for _ in range(3):
        streak.failed("now and then", NOON)
        streak.failed("now and then", NOON)
        streak.succeeded()

    assert ACTIVE == switch.read()


def test_a_count_that_cannot_be_read_is_not_trusted_to_be_low(switch: Switch, tmp_path: Path) -> None:
    (tmp_path / "errors.json").write_text("?")

    assert Streak(tmp_path / "errors.json", switch).failed("one more", NOON)
