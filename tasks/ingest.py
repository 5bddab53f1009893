"""Fetch what the raw table lacks. Never cached: it has its own cursor."""

from __future__ import annotations

from prefect import task

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from data_contracts.dataset import DatasetRef
from desk.market.ingest import Wanted, ingest
from tasks.market import source_of
from tasks.places import lake_of
from tasks.policies import network_retries
from tasks.values import Market


@task(name="ingest_candles", **network_retries())
def ingest_candles(market: Market, operations: OperationsSettings) -> DatasetRef:
    """Every bar of the market that closed by `history_until`, merged into raw/bars."""
    wanted = Wanted(f"bars_{market.name}", market.symbols, Timeframe(market.timeframe), market.history_until)
    return ingest(source_of(operations), lake_of(operations), wanted)
