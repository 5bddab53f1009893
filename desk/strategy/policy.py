"""The ports a user's own strategy implements, in under twenty lines, for every mode: one symbol at a time, or all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from desk.errors import ContractBroken
from desk.events import Forecast


@dataclass(frozen=True, slots=True)
class View:
    """All a policy may know when a bar closes. Nothing here can come from the future.

    `closes` holds the last `warmup_bars` closes, oldest first; `features` the current feature row (empty when no recipe is used);
    `previous` is the policy's own last exposure, not the book's.
    """

    symbol: str
    closed_at: datetime
    closes: NDArray[np.float64]
    features: NDArray[np.float32]
    forecast: Forecast | None
    previous: float


class Policy(Protocol):
    """Decides the wanted exposure of one symbol at the close of one bar."""

    @property
    def warmup_bars(self) -> int:
        """Closes needed before the first decision."""

    def target(self, view: View) -> float:
        """Wanted exposure in [-1, 1]: 1 is the symbol's whole share of capital, 0 is flat, NaN is refused."""


@dataclass(frozen=True, slots=True)
class CrossSection:
    """All that a portfolio policy may know when bars close.

    One view for every symbol with a bar and enough closes, in symbol order. `closes` [time, asset] are the last `warmup_bars` closes of these
    symbols on one time axis, oldest first, each the last one known then. Exposure 1 is the weight `share` (fraction of equity); `elsewhere` is the
    sum of absolute exposures of symbols without a view, which stay as they are. `kept` is what the policy asked to keep when it last decided.
    """

    views: tuple[View, ...]
    closes: NDArray[np.float64]
    share: float
    elsewhere: float = 0.0
    kept: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Wanted exposures in [-1, 1] by symbol (NaN, or left out: no order), and numbers to keep by name: they are journalled and survive a restart."""

    exposures: Mapping[str, float]
    kept: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class PortfolioPolicy(Protocol):
    """Decides the wanted exposures of all symbols together, once for all bars that close at one instant."""

    @property
    def warmup_bars(self) -> int:
        """Closes needed before the first decision."""

    def decide(self, market: CrossSection) -> Decision:
        """What to hold of every symbol that has a view."""


Strategy = Policy | PortfolioPolicy


def decided(strategy: Strategy, market: CrossSection) -> Decision:
    """What a strategy of either kind wants: a policy is asked symbol by symbol."""
    if isinstance(strategy, PortfolioPolicy):
        return strategy.decide(market)
    return Decision({view.symbol: _number(strategy.target(view), view) for view in market.views})


def _number(said: object, view: View) -> float:
    try:
        return float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ContractBroken(f"expected a number as the exposure of {view.symbol} at {view.closed_at}, found {said!r}: correct the policy") from error


def wanted(decision: Decision, view: View) -> float:
    """The exposure that a decision wants of a view's symbol; NaN: none."""
    return float(decision.exposures.get(view.symbol, math.nan))
