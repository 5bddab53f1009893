from __future__ import annotations

from decimal import Decimal

import numba
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from desk.costs import fee, trade_cost_fraction

shares = st.floats(0.0, 1.0)
bps = st.floats(0.0, 500.0)
compiled = numba.njit(trade_cost_fraction)


def test_a_quarter_of_the_volume_pays_half_of_the_impact_and_half_the_spread() -> None:
    actual = trade_cost_fraction(1.0, 10.0, 0.25)

    assert pytest.approx(6e-4, rel=1e-15) == actual


@given(half_spread=bps, impact=bps, participation=shares)
def test_every_kind_of_array_and_the_compiler_give_the_same_cost(half_spread: float, impact: float, participation: float) -> None:
    expected = trade_cost_fraction(half_spread, impact, participation)

    column = pl.DataFrame({"share": [participation]}).select(trade_cost_fraction(half_spread, impact, pl.col("share"))).item()
    # The machine's root and the C library's power may differ in the last bit; prices are whole ticks.
    assert pytest.approx(expected, rel=1e-15) == compiled(half_spread, impact, participation)
    assert pytest.approx(expected, rel=1e-15) == trade_cost_fraction(half_spread, impact, np.array([participation]))[0]
    assert pytest.approx(expected, rel=1e-15) == trade_cost_fraction(half_spread, impact, torch.tensor([participation], dtype=torch.float64)).item()
    assert pytest.approx(expected, rel=1e-15) == column


@given(half_spread=bps, impact=bps, less=shares, more=shares)
def test_taking_more_of_a_bar_never_costs_less(half_spread: float, impact: float, less: float, more: float) -> None:
    less, more = sorted((less, more))

    assert trade_cost_fraction(half_spread, impact, less) <= trade_cost_fraction(half_spread, impact, more)


def test_an_unknown_participation_has_an_unknown_cost() -> None:
    assert np.isnan(trade_cost_fraction(1.0, 10.0, float("nan")))


def test_a_fee_is_exact_in_decimal() -> None:
    assert Decimal("0.12345") == fee(Decimal("123.45"), Decimal("0.001"))
