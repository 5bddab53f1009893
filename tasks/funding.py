"""Funding rates of the contracts that are traded: fetched, admitted, kept beside the bars. Never cached: they have their own cursor."""

from __future__ import annotations

from prefect import task

from configs.operations import OperationsSettings
from data_contracts.dataset import DatasetRef
from data_contracts.funding import CONTRACT
from data_contracts.gate import Quarantined, admit
from desk.errors import ContractBroken
from desk.market.funding import ingest_rates
from tasks.market import source_of
from tasks.places import lake_of
from tasks.policies import network_retries
from tasks.values import Market


@task(name="ingest_funding", **network_retries())
def ingest_funding(market: Market, operations: OperationsSettings) -> DatasetRef | None:
    """Every rate of the market's contracts settled by `history_until`, in clean/funding; None where no contract is traded."""
    contracts = tuple(row.symbol for row in market.instruments if row.instrument().perpetual)
    if not contracts:
        return None
    lake, table = lake_of(operations), f"funding_{market.name}"
    raw = ingest_rates(source_of(operations, market.dialect), lake, table, contracts, market.history_until)
    admitted = admit(lake.read(raw), CONTRACT)
    if isinstance(admitted, Quarantined):
        raise ContractBroken(f"{admitted.summary()}; the rates are in raw/{table}")
    return lake.upsert("clean", table, admitted.frame)
