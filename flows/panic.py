"""Everything of ours cancelled and closed, now.

does      halt the desk, end its trader if it still lives, take its lease, cancel its orders, close its positions by market orders
needs     the exchange and the journal; no trader, no model, no feed
leaves    a flat account, a halted desk, and what was done in the journal
cadence   `panic/now`, only by hand; the console's `tradewind flatten` does the same without Prefect
failure   say it again: a second one finds what the first one left
"""

from __future__ import annotations

from prefect import flow

from flows.run import begin
from tasks.hooks import on_crashed, on_failed
from tasks.panic import Panic, flatten_account


@flow(name="panic", flow_run_name="panic-{profile}", on_failure=[on_failed], on_crashed=[on_crashed])
def panic(profile: str = "live", reason: str = "the panic deployment was started") -> Panic:
    """Flatten the account."""
    settings = begin(profile)
    return flatten_account(settings.market, settings.risk, settings.operations, settings.short_hash, reason)
