"""Clean bars to features, with the proof that no feature sees the future."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl

from configs.operations import OperationsSettings
from data_contracts.features import features_contract
from data_contracts.gate import Quarantined, admit
from desk.errors import ContractBroken
from desk.features import batch, proof, recipe
from tasks.places import lake_of
from tasks.policies import artefact_task
from tasks.values import Features, Validated

# Bars per symbol on which every feature's causality is proven at each build; enough for several warm-ups.
PROOF_BARS = 600


@artefact_task(name="build_features", ignore=("operations",))
def build_features(validated: Validated, recipe_name: str, operations: OperationsSettings, *, folder: Path) -> Features:
    """Compute the recipe over the clean table, prove it causal, admit it by contract, store it."""
    lake, chosen = lake_of(operations), recipe.load(recipe_name)
    bars = lake.read(validated.clean)
    certificates = proof.prove(chosen, bars.group_by("symbol", maintain_order=True).head(PROOF_BARS))
    (folder / "certificates.json").write_text(json.dumps([asdict(one) for one in certificates], default=str, indent=1), encoding="utf-8")
    if leaks := [one.feature for one in certificates if not one.passed]:
        raise ContractBroken(f"expected features that see no future, found leaks in {', '.join(leaks)}; see {folder / 'certificates.json'}")
    admitted = admit(batch.compute(chosen, bars), features_contract(chosen.names, chosen.warmup_bars))
    if isinstance(admitted, Quarantined):
        admitted.cases.write_parquet(folder / "quarantined.parquet")
        raise ContractBroken(f"{admitted.summary()}; all cases are in {folder / 'quarantined.parquet'}")
    ref = lake.upsert("features", f"{chosen.name}_{validated.clean.table}", admitted.frame)
    return Features(ref=ref, recipe=chosen.name, recipe_hash=chosen.hash, names=chosen.names, warmup_bars=chosen.warmup_bars, certified=chosen.names)


def bars_and_features(validated: Validated, features: Features, operations: OperationsSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables at the versions the references pin, verified against their content hashes."""
    lake = lake_of(operations)
    return lake.read(validated.clean), lake.read(features.ref)
