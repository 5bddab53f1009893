"""Features one closed bar at a time: the step form of a recipe, the same formulas as `batch`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from desk.errors import ClockBackwards, ContractBroken
from desk.events import Bar
from desk.features.algebra import INPUT, LAG, ordered, remembering
from desk.features.recipe import Recipe


class Stream:
    """The running features of one symbol. Memory is bounded by the recipe's windows; a NaN leaves with the window it was in."""

    def __init__(self, recipe: Recipe) -> None:
        program = ordered([feature.formula for feature in recipe.features])
        slot = {node: index for index, node in enumerate(program)}
        self._values = [0.0] * len(program)
        self._reads: list[tuple[int, Callable[..., float], str]] = []
        self._steps: list[tuple[int, Callable[..., float], tuple[int, ...]]] = []
        self._outputs = [slot[feature.formula] for feature in recipe.features]
        self._cold_bars = recipe.warmup_bars
        self._last: tuple[str, datetime] | None = None
        for node in program:
            if node.operation is INPUT:
                self._reads.append((slot[node], node.operation.step, str(node.parameter)))
                continue
            places = [slot[each] for each in node.inputs]
            step = remembering(int(node.parameter or 0)) if node.operation is LAG else node.operation.step
            if node.parameter is not None and node.operation is not LAG:
                # A parameter is a value that never changes: it lives behind the computed ones and is read like any input.
                places.append(len(self._values))
                self._values.append(float(node.parameter))
            self._steps.append((slot[node], step, tuple(places)))

    def update(self, bar: Bar) -> NDArray[np.float32]:
        """Take the symbol's next closed bar; return its feature row [feature], NaN until the recipe is warm.

        Raises ContractBroken for another symbol's bar and ClockBackwards for a bar that is not later than the one before.
        """
        return self.update_precise(bar).astype(np.float32)

    def update_precise(self, bar: Bar) -> NDArray[np.float64]:
        """The same in float64, before it is rounded: what agreement with the batch form is measured on."""
        self._check_order(bar)
        values = self._values
        for place, read, name in self._reads:
            values[place] = read(bar, name)
        for place, step, inputs in self._steps:
            values[place] = step(*[values[i] for i in inputs])
        if self._cold_bars > 0:
            self._cold_bars -= 1
            return np.full(len(self._outputs), np.nan)
        return np.array([values[place] for place in self._outputs])

    def _check_order(self, bar: Bar) -> None:
        if self._last is not None:
            symbol, open_time = self._last
            if bar.symbol != symbol:
                raise ContractBroken(f"this stream follows {symbol}; found a bar of {bar.symbol} at {bar.open_time.isoformat()}; keep one stream per symbol")
            if bar.open_time <= open_time:
                raise ClockBackwards(
                    f"{symbol}: a bar later than {open_time.isoformat()} was expected, found {bar.open_time.isoformat()}; feed closed bars once, in order"
                )
        self._last = (bar.symbol, bar.open_time)
