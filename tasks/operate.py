"""Health of the installation, as one table."""

from __future__ import annotations

import shutil

from prefect import task
from prefect.artifacts import create_table_artifact

from configs.operations import OperationsSettings
from desk.errors import PreflightFailed
from tasks.ledger import open_ledger
from tasks.services import status
from tasks.values import Value

# Below this much free room a nightly training may not finish.
MIN_FREE_GIB = 2.0


class Health(Value):
    """Each check's name and what it found."""

    checks: dict[str, str]


@task(name="check_health")
def check_health(operations: OperationsSettings) -> Health:
    """Disk, ledger and services; raises PreflightFailed when one of them is not well."""
    operations.var.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(operations.var).free / 2**30
    with open_ledger(operations) as ledger:
        entries = ledger.verify().count
    checks = {
        "disk": f"{free:.1f} GiB free",
        "trial ledger": f"{entries} entries verify",
        **{f"service {name}": state for name, state in status(operations).items()},
    }
    create_table_artifact(key="health", table=[{"check": name, "found": found} for name, found in checks.items()], description="health")
    if free < MIN_FREE_GIB:
        raise PreflightFailed(f"expected {MIN_FREE_GIB:g} GiB free under {operations.var}, found {free:.1f}; free space or move the state folder")
    return Health(checks=checks)
