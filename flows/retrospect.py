"""The weekly look back that changes the next search.

does      read every trial of the ledger, narrow the search inside its declared bounds, write the page
needs     nothing but the state folder
leaves    a page under `<var>/retrospectives`, a settings overlay that every later run reads
cadence   `retrospect/weekly`
failure   run it again
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin
from tasks.hooks import on_crashed, on_failed
from tasks.retrospect import Retrospective, review_search


@flow(name="retrospect", flow_run_name="retrospect-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def retrospect(profile: str = "demo") -> Retrospective:
    """Review the trials, narrow the next search."""
    settings = begin(profile)
    return review_search(settings.learning.tuning, settings.operations)
