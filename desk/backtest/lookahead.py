"""Does a decision know what it cannot know? Decide again in worlds that end, or go on otherwise, and demand the same decisions up to there.

It asks nothing of how something decides: a rule, a model, a fit, an array of signals made in advance are all a function from bars to values, one for
each bar, which that bar's close must suffice for. So the function must make everything again from the bars it is handed. What was looked up in them
once and carried along no such experiment can see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from desk.features.proof import distorted

KEYS = ("symbol", "open_time")
# A fixed seed: a check must find the same thing twice.
SEED = 20_240_602

Decide = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Foresight:
    """What was found: values compared, how many of them changed with bars to come, and where the first did.

    `alert`: whether the same values, each told one bar early, were found out, as they must be; a check that does not see those sees nothing.
    """

    compared: int
    changed: int
    alert: bool
    first: str = ""

    @property
    def passed(self) -> bool:
        """Whether something was compared, nothing changed, and looking ahead would have been noticed."""
        return self.compared > 0 and self.changed == 0 and self.alert

    @property
    def words(self) -> str:
        """The evidence, in one sentence."""
        blind = "" if self.alert else "; the same values told one bar early were not noticed"
        return f"{self.compared} values compared, {self.changed} changed{f'; first {self.first}' if self.first else ''}{blind}"


def lookahead(
    decide: Decide,
    bars: pl.DataFrame,
    cuts: Sequence[datetime],
    *,
    whole: pl.DataFrame | None = None,
    after_bars: int | None = None,
    ending: bool = True,
) -> Foresight:
    """Compare what `decide` says of all `bars` (a bars frame) with what it says where the bars from a cut on are gone, and where they are others.

    `decide` gives rows of symbol, open_time and any columns of values; `whole` is what it said of all bars, where that is known. Other bars follow a cut
    to the end, or only `after_bars` of each symbol. `ending` False asks in no world that ends: for what is drawn at random from as many rows as there
    are. Values are compared bit for bit; NaN equals NaN; a row that comes or goes has changed.
    """
    bars = bars.sort(*KEYS)
    whole = decide(bars) if whole is None else whole
    compared, changed, noticed, first = 0, 0, 0, ""
    for cut, world in _worlds(bars, cuts, after_bars, ending=ending):
        told = decide(world)
        apart = _apart(whole, told, cut)
        compared += whole.filter(pl.col("open_time") < cut).height
        changed += len(apart)
        noticed += len(_apart(_early(whole), _early(told), cut))
        first = first or (_words(apart, cut) if len(apart) else "")
    return Foresight(compared, changed, noticed > 0, first)


def _worlds(bars: pl.DataFrame, cuts: Sequence[datetime], after_bars: int | None, *, ending: bool) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """For each cut: the bars before it alone, and with others behind them."""
    random = np.random.default_rng(SEED)
    for cut in cuts:
        past, future = bars.filter(pl.col("open_time") < cut), bars.filter(pl.col("open_time") >= cut)
        kept = future if after_bars is None else future.group_by("symbol", maintain_order=True).head(after_bars)
        if ending:
            yield cut, past
        yield cut, pl.concat([past, distorted(kept, random)]).sort(*KEYS)


def _apart(whole: pl.DataFrame, told: pl.DataFrame, cut: datetime) -> pl.DataFrame:
    """Rows before the cut that are not the same in both, in time order."""
    names = [name for name in whole.columns if name not in KEYS]
    before = [frame.filter(pl.col("open_time") < cut).select(*KEYS, *names, known=pl.lit(True)) for frame in (whole, told)]
    pairs = before[0].join(before[1], on=KEYS, how="full", coalesce=True, suffix="_now", maintain_order="left_right")
    differs = pl.any_horizontal(*(pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in (*names, "known")))
    return pairs.filter(differs).sort("open_time", "symbol")


def _early(told: pl.DataFrame) -> pl.DataFrame:
    """The same values, each told one bar before its time."""
    return told.sort(*KEYS).with_columns(pl.exclude(*KEYS).shift(-1).over("symbol"))


def _words(apart: pl.DataFrame, cut: datetime) -> str:
    row = apart.row(0, named=True)
    names = [name for name in row if name.endswith("_now") and name != "known_now"]
    was, now = ({name.removesuffix("_now"): row[name.removesuffix("_now") if old else name] for name in names} for old in (True, False))
    return f"at {row['symbol']} {row['open_time'].isoformat()} with bars from {cut.isoformat()} on changed: {was} became {now}"
