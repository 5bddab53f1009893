"""Automations that Prefect does not have built in, as code."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

ZOMBIES = "mark runs without a heartbeat as crashed"
# Three heartbeats of 30 s: one may be late, three are silence.
SILENCE = timedelta(seconds=90)


def ship_zombie_automation() -> None:
    """A run whose heartbeats stop is marked Crashed. Done once: an automation of that name is left as it is."""
    asyncio.run(_ship())


async def _ship() -> None:
    try:
        await Automation.aread(name=ZOMBIES)
    except ValueError:
        await Automation(
            name=ZOMBIES,
            description="A worker and its run can die together; nobody else would ever say so. This changes a record, it stops no process.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={
                    "prefect.flow-run.heartbeat",
                    "prefect.flow-run.Completed",
                    "prefect.flow-run.Failed",
                    "prefect.flow-run.Cancelled",
                    "prefect.flow-run.Crashed",
                },
                match={"prefect.resource.id": ["prefect.flow-run.*"]},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {SILENCE.total_seconds():.0f} s")],
        ).acreate()
