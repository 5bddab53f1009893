"""Names, hashes and warm-ups of recipes."""

from __future__ import annotations

import pytest

from desk.errors import UnknownKey
from desk.features import algebra, indicators
from desk.features.recipe import Feature, compose, load


def test_core_has_sixteen_features_and_a_warmup_of_its_longest_window():
    recipe = load("core")

    assert ("core", 16, 128) == (recipe.name, len(recipe.features), recipe.warmup_bars)


def test_an_unknown_recipe_is_refused_with_the_known_names():
    with pytest.raises(UnknownKey, match=r"one of core; found 'cora'"):
        load("cora")


def test_the_hash_is_stable_within_and_across_loads():
    features = load("core").features

    assert load("core").hash == compose("core", load("core").version, features).hash


@pytest.mark.parametrize(
    "other",
    [
        compose("other", 1, (Feature("a", indicators.log_return(4)),)),
        compose("it", 2, (Feature("a", indicators.log_return(4)),)),
        compose("it", 1, (Feature("b", indicators.log_return(4)),)),
        compose("it", 1, (Feature("a", indicators.log_return(8)),)),
        compose("it", 1, (Feature("a", indicators.log_return(4)), Feature("b", indicators.log_return(8)))),
    ],
    ids=["name", "version", "feature name", "parameter", "one more"],
)
def test_any_edit_of_a_definition_changes_the_hash(other):
    assert compose("it", 1, (Feature("a", indicators.log_return(4)),)).hash != other.hash


def test_editing_how_an_operation_steps_changes_the_hash():
    """The hash covers the source of both forms, not only the name of the operation."""
    ours = algebra.Operation("negative", lambda a: -a, lambda a: -a)
    edited = algebra.Operation("negative", lambda a: -a, lambda a: 0.0 - a)
    close = algebra.column("close")

    hashes = {compose("it", 1, (Feature("a", algebra.elementwise(operation, close)),)).hash for operation in (ours, edited)}

    assert 2 == len(hashes)
