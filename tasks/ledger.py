"""The trial ledger: every trial ever evaluated and every look at a holdout, kept in one hash-chained file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from configs.operations import OperationsSettings
from desk.chain import Chain, Entry
from desk.clock import WallClock


def open_ledger(operations: OperationsSettings) -> Chain:
    """The ledger of this installation; one writer at a time."""
    return Chain(operations.var / "ledger" / "trials.sqlite", sync=True)


def trial_ledger(operations: OperationsSettings, market: str) -> Callable[[Mapping[str, Any]], None]:
    """A function that remembers one trial once: a study resumed after a kill reports the same (study, number) again."""

    def remember(trial: Mapping[str, Any]) -> None:
        with open_ledger(operations) as ledger:
            known = {(link.payload["study"], link.payload["number"]) for link in ledger.entries(kind="trial")}
            if (trial["study"], trial["number"]) not in known:
                # JSON has no NaN: a trial that died before its first look has no figures.
                figures = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in trial.items()}
                ledger.append([Entry(WallClock().now(), "trial", {**figures, "market": market})])

    return remember


def trials_of(operations: OperationsSettings, market: str) -> list[dict[str, Any]]:
    """Every trial ever evaluated on a market's data, in the order in which they were."""
    with open_ledger(operations) as ledger:
        return [link.payload for link in ledger.entries(kind="trial") if link.payload["market"] == market]


def spend_holdout(operations: OperationsSettings, market: str, identity: str, span: tuple[str, str]) -> int:
    """Record that `identity` was tested on a holdout span; returns how many other models had looked at an overlapping span before.

    The same model looking again at the same span is the same look. Spans are ISO instants of one market's data.
    """
    with open_ledger(operations) as ledger:
        looks = [link.payload for link in ledger.entries(kind="holdout") if link.payload["market"] == market]
        overlapping = [look for look in looks if look["span"][0] <= span[1] and span[0] <= look["span"][1]]
        before = [look["identity"] for look in overlapping]
        if identity in before:
            return before.index(identity)
        ledger.append([Entry(WallClock().now(), "holdout", {"market": market, "identity": identity, "span": list(span)})])
        return len(before)
