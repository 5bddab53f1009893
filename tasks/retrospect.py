"""The weekly retrospective: what was tried, what it taught, where to look next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prefect import task
from prefect.artifacts import create_markdown_artifact

from configs.learning import TuningSettings
from configs.operations import OperationsSettings
from desk.clock import WallClock
from desk.disk import write_whole
from desk.review.retrospective import Proposal, propose_search
from tasks.ledger import open_ledger
from tasks.values import Value


class Retrospective(Value):
    """Where the document lies, and the settings file the next runs read, when the search was changed."""

    document: Path
    applied: Path | None


def approved_search(operations: OperationsSettings) -> Path:
    """The settings file that a retrospective may write and every later run reads."""
    return operations.var / "approved" / "search.yaml"


@task(name="review_search")
def review_search(tuning: TuningSettings, operations: OperationsSettings) -> Retrospective:
    """Narrow the search inside its declared bounds and write down why."""
    with open_ledger(operations) as ledger:
        trials = [link.payload for link in ledger.entries(kind="trial")]
    declared = TuningSettings()
    proposal = propose_search(trials, {"learning_rate": declared.learning_rate, "weight_decay": declared.weight_decay, "dropout": declared.dropout})
    applied = apply_search(proposal, operations)
    document = write_document(trials, proposal, tuning, operations)
    create_markdown_artifact(key="retrospective", markdown=document.read_text(encoding="utf-8"), description="weekly retrospective")
    return Retrospective(document=document, applied=applied)


def apply_search(proposal: Proposal, operations: OperationsSettings) -> Path | None:
    """Write the proposed bounds as a settings overlay; nothing proposed, nothing written."""
    if not proposal.bounds:
        return None
    target = approved_search(operations)
    write_whole(target, yaml.safe_dump({"learning": {"tuning": {name: list(span) for name, span in proposal.bounds.items()}}}))
    return target


def write_document(trials: list[dict[str, Any]], proposal: Proposal, tuning: TuningSettings, operations: OperationsSettings) -> Path:
    """The retrospective as a page: trials by state, the best ones, the proposal with its reason."""
    now = WallClock().now()
    target = operations.var / "retrospectives" / f"{now:%Y-%m-%d}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    best = sorted((t for t in trials if isinstance(t.get("score"), float)), key=lambda t: -t["score"])[:5]
    lines = [
        f"# Retrospective {now:%Y-%m-%d}",
        "",
        f"{len(trials)} trials are in the ledger.",
        "",
        "| study | trial | score | parameters |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {t['study']} | {t['number']} | {t['score']:.4f} | {t['params']} |" for t in best]
    lines += [
        "",
        "## Next search",
        "",
        f"Searched now: learning rate {tuning.learning_rate}, weight decay {tuning.weight_decay}, dropout {tuning.dropout}.",
        "",
    ]
    lines += [f"- {name}: {low:g} to {high:g}" for name, (low, high) in proposal.bounds.items()] or ["- unchanged"]
    lines += ["", f"Why: {proposal.reason}.", ""]
    target.write_text("\n".join(lines), encoding="utf-8")
    return target
