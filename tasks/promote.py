"""The gate: evidence from the backtest, every trial from the ledger, one look at the holdout, a registered version with its alias."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from configs.learning import LearningSettings, PromotionSettings
from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.log import event
from tasks.backtest import returns_of
from tasks.ledger import spend_holdout, trials_of
from tasks.policies import artefact_task
from tasks.values import Backtested, Check, Promoted, Research

if TYPE_CHECKING:
    from models.evidence import Evidence
    from models.promotion import Decision
    from models.registry import Registered

SQLITE = "sqlite:///"


def tracking_uri(operations: OperationsSettings) -> str:
    """Where MLflow keeps its runs."""
    return operations.tracking_uri or f"{SQLITE}{operations.var.resolve() / 'mlflow' / 'mlflow.db'}"


def registry_state(operations: OperationsSettings) -> str:
    """Which registry a decision was written to. A local one has an id beside it: erased and made anew, it gets another, and the decision is written again."""
    uri = tracking_uri(operations)
    if not uri.startswith(SQLITE):
        return uri
    store = Path(uri.removeprefix(SQLITE))
    identity = store.with_suffix(".id")
    if not (store.exists() and identity.exists()):
        store.parent.mkdir(parents=True, exist_ok=True)
        identity.write_text(uuid.uuid4().hex, encoding="utf-8")
    return identity.read_text(encoding="utf-8")


@artefact_task(name="promote_model", ignore=("operations",))
def promote_model(
    tested: Backtested, research: Research, registry: str, learning: LearningSettings, operations: OperationsSettings, *, folder: Path
) -> Promoted:
    """Decide, record the run in MLflow, register the version, set the alias; every step happens once however often it is repeated."""
    from models import registry as mlflow

    uri, name, newest = tracking_uri(operations), operations.registered_model, research.folds[-1]
    mlflow.initialise(uri)
    reigning = rival(mlflow.champion(uri, name), newest.identity)
    evidence, baselines = evidence_of(tested, research, operations)
    decision = decided(evidence, baselines, reigning, learning.promotion, tested.lookahead)
    figures = {**decision.figures, **companions_of(evidence, baselines, research)}
    (folder / "decision.json").write_text(json.dumps({"promoted": decision.promoted, "reasons": decision.reasons}), encoding="utf-8")
    run_id = recorded(uri, tested, research, figures, folder)
    tags = {
        "dataset": research.validated.clean.content_hash,
        "recipe": research.features.recipe_hash,
        "decision": "promoted" if decision.promoted else "refused",
    }
    version = mlflow.register(uri, name, newest.folder / "network", evidence, tags, identity=newest.identity, run_id=run_id)
    word = "champion" if decision.promoted else "challenger"
    mlflow.alias(uri, name, word, version)
    event("promotion.decided", promoted=decision.promoted, version=version, alias=word, reasons="; ".join(decision.reasons) or "every condition held")
    return answer(decision, figures, version, run_id, reigning)


def rival(reigning: Registered | None, identity: str) -> Registered | None:
    """The champion to beat; a model is not its own rival."""
    from models.artefacts import read_card

    return None if reigning is None or read_card(reigning.folder)["identity"] == identity else reigning


def evidence_of(tested: Backtested, research: Research, operations: OperationsSettings) -> tuple[Evidence, dict[str, Evidence]]:
    """Evidence for the network, with every trial of this market counted and its look at the holdout recorded, and for the baselines."""
    from models.evidence import Evidence, effective_trials, null_sharpe_variance

    table = research.validated.clean.table
    curves = pl.read_parquet(tested.folder / "curves.parquet")
    held = curves["time"].dt.replace_time_zone("UTC").to_numpy() >= np.datetime64(tested.holdout_from.replace(tzinfo=None), "us")
    trials = trials_of(operations, table)
    span = (tested.holdout_from.isoformat(), research.validated.clean.span[1].isoformat())
    looks = spend_holdout(operations, table, research.folds[-1].identity, span)
    parts = {name: (returns_of(curves, name)[~held], returns_of(curves, name)[held]) for name in tested.measures}
    network = Evidence(
        *parts["network"],
        n_trials=len(trials),
        trial_sharpe_variance=null_sharpe_variance(int((~held).sum())),
        holdout_looks=looks,
        effective_trials=effective_trials(trials),
    )
    return network, {name: Evidence(*parts[name]) for name in ("linear", "buy and hold")}


def decided(
    evidence: Evidence, baselines: dict[str, Evidence], reigning: Registered | None, limits: PromotionSettings, lookahead: tuple[Check, ...]
) -> Decision:
    """Ask the gate; whoever looks ahead does not pass it either."""
    from models.promotion import Check as Condition
    from models.promotion import decide

    decision = decide(evidence, reigning.evidence if reigning else None, baselines, limits)
    return replace(decision, checks=(*decision.checks, *(Condition(**check.model_dump()) for check in lookahead)))


def companions_of(evidence: Evidence, baselines: dict[str, Evidence], research: Research) -> dict[str, float]:
    """Figures reported beside the decision."""
    from models.companions import beside

    return beside(evidence, baselines, Timeframe(research.validated.clean.timeframe).bars_per_year)


def recorded(uri: str, tested: Backtested, research: Research, figures: dict[str, float], folder: Path) -> str:
    """One MLflow run for the fit that may trade: parameters, measures of every strategy, datasets, the decision, the equity plot."""
    from models.plots import equity_plot
    from models.registry import record_training

    newest = research.folds[-1]
    plot = equity_plot(tested.folder / "curves.parquet", folder / "equity.png")
    strategies = {f"{name.replace(' ', '_')}.{measure}": value for name, found in tested.measures.items() for measure, value in found.items()}
    ics = {f"fold_{fold.fold}.ic": fold.ic for fold in research.folds if fold.ic is not None}
    return record_training(
        uri,
        "tradewind",
        identity=newest.identity,
        run_name=f"{research.validated.clean.table}-{newest.identity[:8]}",
        params={**newest.best, "recipe": research.features.recipe, "trials": tested.trials, "folds": len(research.folds)},
        metrics={**strategies, **ics, **figures},
        datasets=(research.validated.clean, research.features.ref),
        tags={"recipe_hash": research.features.recipe_hash, "holdout_from": tested.holdout_from.isoformat()},
        artifacts=(plot, folder / "decision.json"),
    )


def answer(decision: Decision, figures: dict[str, float], version: str, run_id: str, reigning: Registered | None) -> Promoted:
    """The decision as the report and the console tell it."""
    return Promoted(
        promoted=decision.promoted,
        reasons=decision.reasons,
        figures={name: value for name, value in figures.items() if np.isfinite(value)},
        model_version=version,
        run_id=run_id,
        alias="champion" if decision.promoted else "challenger",
        champion=f"version {reigning.version}" if reigning else None,
        checks=tuple(Check(name=check.name, found=check.found, needed=check.needed, passed=check.passed) for check in decision.checks),
    )
