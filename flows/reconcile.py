"""Does every journal verify, what does its book hold, and does the account agree?

does      verify the hash chain of each journal, fold it, compare the live one with the account, publish the books as a table
needs     nothing but the state folder; the exchange, where one answers
leaves    an artifact; foreign activity and differences halt the desk; nothing is repaired here
cadence   `reconcile/every-5-minutes`
failure   a broken chain fails the run and names the entry: stop trading, restore a backup. So does a book that differs: settle that, then resume
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin
from tasks.hooks import on_crashed, on_failed
from tasks.reconcile import Books, verify_books


@flow(name="reconcile", flow_run_name="reconcile-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def reconcile(profile: str = "demo") -> Books:
    """Verify and fold every journal, and compare."""
    settings = begin(profile)
    return verify_books(settings.operations, settings.market)
