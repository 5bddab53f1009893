"""Automations that Prefect does not have built in, as code."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

ZOMBIES = "mark runs without a heartbeat as crashed"
# Three heartbeats of 30 s (`tasks/services/environment.py`): one may be late, three are silence.
SILENCE = timedelta(seconds=90)


def zombie_automation() -> AutomationCore:
    """A run whose heartbeats stop, with no other word from it, is marked Crashed."""
    return AutomationCore(
        name=ZOMBIES,
        description="A worker and its run can die together; nobody else would ever say so. This changes a record, it stops no process.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            # Any word counts: a run that ends, waits for a retry or is paused sends no heartbeats either.
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {SILENCE.total_seconds():.0f} s")],
    )


def ship_zombie_automation(api: str) -> bool:
    """Bring the server at `api` to exactly one automation of that name, as it is written here; False when it was so already.

    One that is right is left alone: replacing it would forget the silences that it is counting.
    """
    wanted = zombie_automation()
    with SyncPrefectClient(api) as client:
        known = client.read_automations_by_name(ZOMBIES)
        right = [each for each in known if _spoken(each) == _spoken(wanted)][:1]
        for wrong in [each for each in known if each not in right]:
            client.delete_automation(wrong.id)
        if not right:
            client.create_automation(wanted)
    return not right


def _spoken(automation: AutomationCore) -> object:
    """What an automation says, without what the server adds to it."""
    said = automation.model_dump(mode="json", include={"description", "enabled", "trigger", "actions"})
    return {**said, "trigger": {name: value for name, value in said["trigger"].items() if name != "id"}}
