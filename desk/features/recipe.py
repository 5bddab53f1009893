"""Recipes: named, versioned, hashed lists of features. A model remembers the hash of the recipe it was trained on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from desk.errors import UnknownKey
from desk.features import indicators
from desk.features.algebra import Node, listing, ordered


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the features frame: its name, its formula and the indicator the formula came from."""

    name: str
    formula: Node

    @property
    def warmup_bars(self) -> int:
        """Bars a symbol must have before the first bar with a value. Derived from the formula, so it cannot be declared wrongly."""
        return self.formula.warmup_bars


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered set of features. The first `warmup_bars` rows of a symbol have no features at all: a row is whole or absent."""

    name: str
    version: int
    hash: str
    features: tuple[Feature, ...]
    warmup_bars: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the feature columns, in order."""
        return tuple(feature.name for feature in self.features)


def compose(name: str, version: int, features: tuple[Feature, ...]) -> Recipe:
    """Make a recipe; its hash covers name, version, every formula with its parameters, and the source of both forms of every operation used."""
    nodes = [feature.formula for feature in features]
    operations = sorted({node.operation.name: node.operation for node in ordered(nodes)}.items())
    definition = [name, str(version), ",".join(feature.name for feature in features), listing(nodes), *(operation.source() for _, operation in operations)]
    digest = hashlib.sha256("\0".join(definition).encode()).hexdigest()
    return Recipe(name, version, digest, features, max(feature.warmup_bars for feature in features))


def load(name: str) -> Recipe:
    """Return the recipe of that name; UnknownKey with the known names when there is none."""
    if name not in RECIPES:
        raise UnknownKey(
            f"a recipe is one of {', '.join(sorted(RECIPES))}; found {name!r} (learning.recipe); choose one of these or add it to desk/features/recipe.py"
        )
    return _composed(name)


@functools.cache
def _composed(name: str) -> Recipe:
    version, features = RECIPES[name]
    return compose(name, version, features())


def _core() -> tuple[Feature, ...]:
    return (
        Feature("return_1", indicators.scaled_return(1, 64)),
        Feature("return_4", indicators.scaled_return(4, 64)),
        Feature("return_16", indicators.scaled_return(16, 64)),
        Feature("return_64", indicators.scaled_return(64, 64)),
        Feature("volatility_16", indicators.log_volatility(16)),
        Feature("volatility_128", indicators.log_volatility(128)),
        Feature("volatility_ratio", indicators.volatility_ratio(8, 64)),
        Feature("range_volatility", indicators.range_volatility_ratio(16)),
        Feature("close_position", indicators.close_position()),
        Feature("strength_16", indicators.relative_strength(16)),
        Feature("trend_64", indicators.trend_distance(64)),
        Feature("volume_surprise", indicators.volume_surprise(64)),
        Feature("illiquidity", indicators.illiquidity(16, 128)),
        Feature("hour_sine", indicators.hour_sine()),
        Feature("hour_cosine", indicators.hour_cosine()),
        Feature("weekend", indicators.weekend()),
    )


# Bump the version when a definition changes in meaning; the hash changes by itself.
RECIPES: dict[str, tuple[int, Callable[[], tuple[Feature, ...]]]] = {"core": (1, _core)}
