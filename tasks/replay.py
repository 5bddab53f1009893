"""Runs looked at again: traded once more out of their recordings, or held side by side."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from configs.operations import OperationsSettings
from configs.trading import TradingSettings
from configs.vocabulary import Mode
from desk.backtest.result import Result
from desk.backtest.result import first_difference as first_parting
from desk.books.journal import Step
from desk.errors import BadFile
from desk.replay import Replayed, Run, first_decision_apart, instruments_of, read_run, replay, setup_of
from desk.review.discrepancy import discrepancies
from desk.strategy.forecast import Forecaster
from desk.strategy.house import house_strategy
from desk.strategy.policy import Strategy
from tasks.assembly import FOREVER

PARTS = ("latency", "spread", "impact", "missed", "fee", "residual")
NOBODY = ("", "none")  # what a journal says where no model was asked


def replay_run(name: str, mode: Mode, operations: OperationsSettings, policy: Strategy | None = None) -> Replayed:
    """Trade a recorded run again in `mode`. A rule that cannot be imported and made without arguments is handed in."""
    run = read_run(journal_of(name, operations))
    setup = setup_of(run, policy or _policy(run), _forecaster(run, operations))
    return replay(run, setup, mode)


def journal_of(name: str, operations: OperationsSettings) -> Path:
    """A run by its journal's path, or by its session under var."""
    path = Path(name)
    return path if path.exists() else operations.var / "journal" / f"{name}.sqlite"


def _policy(run: Run) -> Strategy:
    recorded = str(run.inputs.setup["policy"])
    house = house_strategy(TradingSettings.model_validate(run.inputs.setup["trading"]))
    if recorded == f"{type(house).__module__}:{type(house).__qualname__}":
        return house
    module, _, name = recorded.partition(":")
    try:
        sys.path.append(str(Path.cwd()))
        made: Strategy = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise BadFile(f"expected the rule {recorded} that {run.path} was traded by, found {error}: put it on PYTHONPATH as it was then") from error
    finally:
        sys.path.pop()
    return made


def _forecaster(run: Run, operations: OperationsSettings) -> Forecaster | None:
    """The models that answered, by the names the journal has: each from its first step to the next one's."""
    spans = _spans(run.story.steps)
    if not spans:
        return None
    from models.artefacts import folders
    from models.forecasters import Stitched, loaded

    found = folders(operations.var, {name for name, _, _ in spans})
    missing = [name for name, _, _ in spans if name not in found]
    if missing:
        raise BadFile(f"expected the models of {run.path} under {operations.var}, found none named {', '.join(missing)}: restore their folders")
    return Stitched([(begin, end, loaded(found[name])) for name, begin, end in spans])


def _spans(steps: Sequence[Step]) -> list[tuple[str, datetime, datetime]]:
    """Names of models, each with the first close it was asked at and that of whatever answered next; steps without a model have none."""
    changes = [(step.model, step.closed_at) for step, before in zip(steps, [None, *steps], strict=False) if before is None or step.model != before.model]
    ends = [begin for _, begin in changes[1:]] + [FOREVER]
    return [(name, begin, end) for (name, begin), end in zip(changes, ends, strict=True) if name not in NOBODY]


def difference(first: str, second: str, operations: OperationsSettings) -> tuple[bool, list[str]]:
    """Two backtest results, or two runs: whether they tell the same, and in words where they part first and what their orders cost apart."""
    if all((Path(name) / "result.json").exists() for name in (first, second)):
        parting = first_parting(Result.load(Path(first)), Result.load(Path(second)))
        return parting is None, [parting or "the same marks, fills, refusals and equity"]
    runs = [read_run(journal_of(name, operations)) for name in (first, second)]
    parting = first_decision_apart(*runs)
    return parting is None, [parting or "every target and every order is the same", *_costs_apart(*runs)]


def _costs_apart(live: Run, paper: Run) -> list[str]:
    """What the first run's orders cost more than the second's, by cause, weighted by notional."""
    setup = live.inputs.setup
    costs = TradingSettings.model_validate(setup["trading"]).costs
    found = discrepancies(live.story, paper.story, live.inputs.events, instruments_of(setup), costs)
    notional = sum(each.notional for each in found)
    if not notional:
        return ["no order was executed in either"]
    parts = {name: sum(getattr(each, name) * each.notional for each in found) / notional for name in PARTS}
    worst = max(abs(each.residual) for each in found)
    told = ", ".join(f"{name} {_signed(value)}" for name, value in parts.items())
    return [f"{len(found)} orders, {_signed(sum(parts.values()))} bps dearer in the first: {told}; largest residual of one order {worst:.3f} bps"]


def _signed(bps: float) -> str:
    """Two digits and a sign; nothing is +0.00, from whichever side it comes."""
    return f"{round(bps, 2) + 0.0:+.2f}"
