"""Proof that a feature knows no more than it may: three experiments on the bars themselves, one certificate per feature.

`future`      whatever happens after a bar (other prices, or nothing at all) leaves its value as it was, bit for bit.
`truncation`  the declared warm-up is all the history a value needs: cutting everything older leaves it as it was, bit for bit.
`strangers`   other symbols, changed, added or removed, leave a symbol's values as they were, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from desk.errors import ContractBroken
from desk.features import batch
from desk.features.recipe import Recipe

Compute = Callable[[Recipe, pl.DataFrame], pl.DataFrame]

# Cuts per symbol. Each compares every earlier row, so a leak of any size shows at the first; the others cover effects of the place in time. Ours.
CUTS = 3
# A fixed seed: a proof must find the same thing twice.
SEED = 20_240_601
STRANGER = "~STRANGER"


@dataclass(frozen=True, slots=True)
class Check:
    """One experiment on one feature: how many values were compared, how many changed, and where the first one did."""

    name: str
    passed: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was proven about one feature of one recipe (by its hash). `passed` only if every check did."""

    feature: str
    recipe_hash: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def prove(recipe: Recipe, bars: pl.DataFrame, compute: Compute = batch.compute) -> tuple[Certificate, ...]:
    """Put every feature of a recipe to the three experiments on a bars frame; `compute` is the batch computation under proof.

    Every symbol needs more than twice the recipe's warm-up in bars (ContractBroken otherwise): with less, nothing would be compared.
    """
    bars = bars.sort(batch.KEYS)
    counts = bars.group_by("symbol").len()
    needed = 2 * recipe.warmup_bars + 2
    if counts.is_empty() or int(counts["len"].to_numpy().min()) < needed:
        raise ContractBroken(f"a proof of recipe {recipe.name!r} needs {needed} bars of every symbol; found {counts.sort('symbol').rows()}; pass a longer span")
    whole = compute(recipe, bars)
    findings = {feature.name: (_Tally("future"), _Tally("truncation"), _Tally("strangers")) for feature in recipe.features}
    for experiment, (names, altered) in _experiments(recipe, bars, compute):
        for name in names:
            findings[name][experiment].compare(whole, altered, name)
    return tuple(Certificate(name, recipe.hash, tuple(tally.verdict() for tally in tallies)) for name, tallies in findings.items())


def _experiments(recipe: Recipe, bars: pl.DataFrame, compute: Compute) -> Iterator[tuple[int, tuple[tuple[str, ...], pl.DataFrame]]]:
    """Every altered world's features: (index of the check, (features it speaks of, rows that must not have changed))."""
    random = np.random.default_rng(SEED)
    place, total = pl.int_range(pl.len()).over("symbol"), pl.len().over("symbol")
    for share in random.uniform(0.6, 0.95, CUTS):
        past = place < (total * share).cast(pl.Int64)
        kept = bars.filter(past).select(batch.KEYS)
        for world in (bars.filter(past), pl.concat([bars.filter(past), distorted(bars.filter(~past), random)])):
            yield 0, (recipe.names, compute(recipe, world).join(kept, on=batch.KEYS, how="semi", maintain_order="left"))
    for feature in recipe.features:
        alone = replace(recipe, features=(feature,), warmup_bars=feature.warmup_bars)
        for share in random.uniform(0.6, 0.95, CUTS):
            start = (total * share).cast(pl.Int64) - feature.warmup_bars
            yield 1, ((feature.name,), compute(alone, bars.filter(place >= start)).filter(place >= feature.warmup_bars))
    for symbol in bars["symbol"].unique().sort():
        own, others = bars.filter(pl.col("symbol") == symbol), bars.filter(pl.col("symbol") != symbol)
        stranger = distorted(own.with_columns(symbol=pl.lit(STRANGER)), random)
        for world in (own, pl.concat([own, stranger]), pl.concat([own, distorted(others, random)])):
            yield 2, (recipe.names, compute(recipe, world).filter(pl.col("symbol") == symbol))


def distorted(bars: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """The same times with other prices and volumes: each bar moved by its own factor, far outside what it was."""
    price, volume = np.exp(random.normal(0.5, 1.0, len(bars))), np.exp(random.normal(0.0, 2.0, len(bars)))
    return bars.with_columns(*(pl.col(name) * price for name in ("open", "high", "low", "close")), pl.col("volume") * volume)


class _Tally:
    """Counts, for one check of one feature, the values compared and the values that changed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._compared = 0
        self._changed = 0
        self._first = ""

    def compare(self, whole: pl.DataFrame, altered: pl.DataFrame, feature: str) -> None:
        """Match the altered world's rows with the whole world's and count the differences; NaN equals NaN."""
        pairs = altered.select(*batch.KEYS, now=pl.col(feature)).join(
            whole.select(*batch.KEYS, was=pl.col(feature)), on=batch.KEYS, how="left", maintain_order="left"
        )
        differing = pairs.filter(pl.col("now").ne_missing(pl.col("was")))
        self._compared += len(pairs)
        self._changed += len(differing)
        if len(differing) and not self._first:
            row = differing.row(0, named=True)
            self._first = f"first at {row['symbol']} {row['open_time'].isoformat()}: {row['was']} became {row['now']}"

    def verdict(self) -> Check:
        """The check: passed when something was compared and nothing changed."""
        evidence = f"{self._compared} values compared, {self._changed} changed"
        return Check(self._name, self._compared > 0 and self._changed == 0, f"{evidence}; {self._first}" if self._first else evidence)
