"""Honest features get a certificate; planted leaks of every kind do not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from desk.errors import ContractBroken
from desk.features import algebra, batch, indicators, proof
from desk.features.recipe import Feature, compose, load


def _failed_checks(certificate):
    return {check.name for check in certificate.checks if not check.passed}


def _planted(operation):
    """A recipe of one honest feature and one whose formula goes through a leaking operation."""
    leaking = algebra.elementwise(operation, algebra.log(algebra.column("close")))
    return compose("planted", 1, (Feature("honest", indicators.log_return(4)), Feature("leaking", leaking)))


def test_every_feature_of_core_is_proven(market):
    certificates = proof.prove(load("core"), market)

    assert load("core").names == tuple(certificate.feature for certificate in certificates)
    assert all(certificate.passed for certificate in certificates)
    assert {load("core").hash} == {certificate.recipe_hash for certificate in certificates}
    assert ["future", "truncation", "strangers"] == [check.name for check in certificates[0].checks]


@pytest.mark.parametrize(
    ("leak", "expected"),
    [
        (lambda a: a.shift(-1, fill_value=0.0), "future"),
        (lambda a: a - a.mean(), "future"),
        (lambda a: a.rolling_mean(8, center=True, min_samples=1), "future"),
        (lambda a: a.fill_nan(None).backward_fill(), None),
        (lambda a: a.cum_sum(), "truncation"),
        (lambda a: a.rolling_mean(8, min_samples=1), "truncation"),
        (lambda a: a.ewm_mean(span=8), "truncation"),
    ],
    ids=["next bar", "full-sample mean", "centred window", "harmless fill", "sum since the start", "undeclared window", "infinite memory"],
)
def test_a_planted_leak_fails_its_check_and_the_honest_feature_beside_it_passes(market, leak, expected):
    recipe = _planted(algebra.Operation("leak", leak, lambda a: a))

    honest, leaking = proof.prove(recipe, market)

    assert set() == _failed_checks(honest)
    assert (expected in _failed_checks(leaking)) if expected else leaking.passed


def test_a_leak_across_symbols_fails_the_strangers_check(market):
    """A rank or mean over the symbols of an instant is no leak of the future, and still not the symbol's own."""
    recipe = _planted(algebra.Operation("none", lambda a: a, lambda a: a))

    def with_market_mean(recipe, bars):
        frame = batch.compute(recipe, bars)
        return frame.with_columns((pl.col("leaking") - pl.col("leaking").mean().over("open_time")).alias("leaking")) if "leaking" in frame.columns else frame

    honest, leaking = proof.prove(recipe, market, compute=with_market_mean)

    assert honest.passed
    assert {"strangers"} == _failed_checks(leaking)


def test_a_forgotten_partition_by_symbol_fails_the_strangers_check(market):
    """The classic: a lag over the stacked frame reads the previous symbol's last bar."""
    recipe = _planted(algebra.Operation("none", lambda a: a, lambda a: a))

    def stacked(recipe, bars):
        frame = batch.compute(recipe, bars)
        closes = bars.sort(batch.KEYS)["close"].log()
        return frame.with_columns((closes - closes.shift(1)).fill_null(np.nan).cast(pl.Float32).alias("leaking")) if "leaking" in frame.columns else frame

    _, leaking = proof.prove(recipe, market, compute=stacked)

    assert "strangers" in _failed_checks(leaking)


def test_evidence_names_the_first_changed_value(market):
    _, leaking = proof.prove(_planted(algebra.Operation("leak", lambda a: a.shift(-1, fill_value=0.0), lambda a: a)), market)

    future = leaking.checks[0]

    assert "18 changed" in future.evidence, "one row a cut, a world and a symbol: the last one before the cut"
    assert "first at ADA/USDT 2024-01-" in future.evidence


def test_too_few_bars_prove_nothing(market):
    with pytest.raises(ContractBroken, match="needs 258 bars of every symbol"):
        proof.prove(load("core"), market.sort(batch.KEYS).group_by("symbol", maintain_order=True).head(200))
