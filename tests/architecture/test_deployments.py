"""The list of deployments, with what starts each, is committed: a change of it is seen in review.

After a deliberate change: `python tests/architecture/test_deployments.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DECLARED = ROOT / "prefect.yaml"
SNAPSHOT = Path(__file__).with_name("deployments.txt")


def flow_of(deployment: dict[str, Any]) -> str:
    """`flows/build_features.py:build_features` is the flow `build-features`."""
    return str(deployment["entrypoint"]).rsplit(":", 1)[-1].replace("_", "-")


def start_of(deployment: dict[str, Any]) -> str:
    """What starts a deployment: its schedules, its triggers, or a person."""
    schedules = deployment.get("schedules") or ([deployment["schedule"]] if deployment.get("schedule") else [])
    starts = [f"{kind} {schedule[kind]}" for schedule in schedules for kind in ("cron", "interval", "rrule") if kind in schedule]
    starts += [f"on {trigger.get('expect') or trigger.get('name') or trigger}" for trigger in deployment.get("triggers") or []]
    return "; ".join(map(str, starts)) or "by hand"


def table() -> str:
    """One sorted line a deployment: full name, what starts it, how many at once."""
    deployments = yaml.safe_load(DECLARED.read_text(encoding="utf-8"))["deployments"]
    rows = sorted((f"{flow_of(each)}/{each['name']}", start_of(each), f"limit {each.get('concurrency_limit', 'none')}") for each in deployments)
    return "".join(f"{name:<32} {start:<60} {limit}\n" for name, start, limit in rows)


@pytest.mark.skipif(not DECLARED.exists(), reason="prefect.yaml is not there")
def test_the_deployments_are_the_ones_in_the_snapshot() -> None:
    assert SNAPSHOT.read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    SNAPSHOT.write_text(table(), encoding="utf-8")
