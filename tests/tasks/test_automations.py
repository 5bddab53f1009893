"""The zombie automation, against what the heartbeat setting promises."""

from __future__ import annotations

from pathlib import Path

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

from configs.operations import OperationsSettings
from tasks.automations import SILENCE, zombie_automation
from tasks.services import service_environment


def test_three_heartbeats_must_be_missed() -> None:
    frequency = int(service_environment(OperationsSettings(var=Path("var")))["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])

    assert 3 * frequency == SILENCE.total_seconds()


def test_only_silence_after_a_heartbeat_is_a_zombie() -> None:
    """Any other word of the run, such as waiting for a retry, is a sign of life."""
    trigger = zombie_automation().trigger

    assert isinstance(trigger, EventTrigger)
    assert Posture.Proactive == trigger.posture
    assert {"prefect.flow-run.heartbeat"} == trigger.after
    assert {"prefect.flow-run.*"} == trigger.expect
    assert {"prefect.resource.id"} == trigger.for_each
    assert SILENCE == trigger.within


def test_it_marks_the_run_and_stops_nothing() -> None:
    (action,) = zombie_automation().actions

    assert isinstance(action, ChangeFlowRunState)
    assert StateType.CRASHED == action.state
