"""How returns move together, known at each close, by symbol: an exponentially weighted covariance. Its arithmetic is `desk.risk.shortfall`'s."""

from __future__ import annotations

import math
from collections.abc import Mapping

from desk.risk.shortfall import Moves, Prospect, cell, count, shortfall_factor


class Covariance:
    """Covariance of one-bar simple returns (fractions) of `symbols`; `centre` is the mean age of what it counts, in bars."""

    def __init__(self, symbols: tuple[str, ...], centre: int) -> None:
        self._place = {symbol: place for place, symbol in enumerate(symbols)}
        size = len(symbols)
        self.moves = Moves(
            sums=[0.0] * (size * (size + 1) // 2),
            tally=[0.0, 0.0],
            closes=[math.nan] * size,
            fresh=[math.nan] * size,
            decay=centre / (centre + 1),
            wanted=centre,
        )

    def update(self, closes: Mapping[str, float]) -> None:
        """Take note of the last closes, by symbol. Nothing counts before every symbol has one."""
        for symbol, place in self._place.items():
            self.moves.fresh[place] = closes.get(symbol, math.nan)
        count(self.moves)

    def prospect(self, most: float, level: float) -> Prospect:
        """An empty book, of which the expected shortfall beyond the quantile `level` may be `most` of the equity."""
        size = len(self._place)
        return Prospect(self.moves, [0.0] * size, [0.0] * size, most, shortfall_factor(level))

    def between(self, first: str, second: str) -> float:
        """Covariance of two symbols' returns, variance of one's; nan before as many returns were seen as are their mean age."""
        moves = self.moves
        if moves.tally[1] < moves.wanted:
            return math.nan
        return moves.sums[cell(self._place[first], self._place[second])] / moves.tally[0]
