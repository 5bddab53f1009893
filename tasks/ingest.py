"""Fetch what the raw table lacks. Never cached: it has its own cursor."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from data_contracts.dataset import DatasetRef
from desk.market.fallback_source import Handover
from desk.market.ingest import Wanted, ingest
from tasks.market import history_source
from tasks.places import lake_of
from tasks.policies import network_retries
from tasks.values import Market


@task(name="ingest_candles", **network_retries())
def ingest_candles(market: Market, operations: OperationsSettings) -> DatasetRef:
    """Every bar of the market that closed by `history_until`, merged into raw/bars."""
    wanted = Wanted(f"bars_{market.name}", market.symbols, Timeframe(market.timeframe), market.history_until)
    handovers: list[Handover] = []
    ref = ingest(history_source(market, operations, handovers.append), lake_of(operations), wanted)
    if handovers:
        create_table_artifact(key="other-sources", table=[_row(each) for each in handovers], description="bars that did not come from the venue")
    return ref


def _row(handover: Handover) -> dict[str, object]:
    first, last = handover.bars.row(0, named=True), handover.bars.row(-1, named=True)
    span = {"symbol": first["symbol"], "from": first["open_time"].isoformat(), "to": last["open_time"].isoformat(), "bars": handover.bars.height}
    return {**span, "source": handover.source, "compared": handover.compared, "divergence, bps": round(handover.divergence_bps, 2), "why": handover.reason}
