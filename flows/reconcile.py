"""Does every journal verify, and what does its book hold?

does      verify the hash chain of each journal, fold it, publish the books as a table
needs     nothing but the state folder
leaves    an artifact; nothing is repaired here
cadence   `reconcile/every-5-minutes`
failure   a broken chain fails the run and names the entry: stop trading, restore a backup
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin
from tasks.hooks import on_crashed, on_failed
from tasks.reconcile import Books, verify_books


@flow(name="reconcile", flow_run_name="reconcile-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def reconcile(profile: str = "demo") -> Books:
    """Verify and fold every journal."""
    return verify_books(begin(profile).operations)
