"""Is the installation healthy?

does      check disk, state folder, ledger and services; publish them as a table
needs     nothing
leaves    an artifact
cadence   `operate/health`
failure   fails when a check does, naming it and what mends it
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin
from tasks.hooks import on_crashed, on_failed
from tasks.operate import Health, check_health


@flow(name="operate", flow_run_name="operate-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def operate(profile: str = "demo") -> Health:
    """Check everything that must hold between runs."""
    return check_health(begin(profile).operations)
