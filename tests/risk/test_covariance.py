"""Covariance against numpy; the hedge against a search for the best one."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk.errors import ContractBroken
from desk.instruments import Instrument
from desk.risk.covariance import Covariance
from desk.risk.hedge import Hedge

SYMBOLS = ("A/USDT", "B/USDT", "H/USDT:USDT")
GRID = {symbol: Instrument(symbol, symbol.replace("/USDT", "", 1), "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in SYMBOLS}


def prices(n: int = 300) -> NDArray[np.float64]:
    """Closes [time, asset] with a common factor: the hedge is the factor, A moves with it one and a half times as much, B against it."""
    random = np.random.default_rng(5)
    factor = random.normal(0, 0.01, n)
    returns = np.column_stack([1.5 * factor + random.normal(0, 0.002, n), -0.5 * factor + random.normal(0, 0.002, n), factor])
    return 100 * np.cumprod(1 + returns, axis=0)


def after(closes: NDArray[np.float64], centre: int = 40) -> Covariance:
    covariance = Covariance(SYMBOLS, centre)
    for row in closes:
        covariance.update(dict(zip(SYMBOLS, row, strict=True)))
    return covariance


def test_it_is_the_weighted_mean_of_the_products_of_returns() -> None:
    closes = prices()
    returns = closes[1:] / closes[:-1] - 1
    weights = (40 / 41) ** np.arange(len(returns))[::-1]

    covariance = after(closes)

    expected = np.einsum("t,ti,tj->ij", weights, returns, returns) / weights.sum()
    told = [[covariance.between(one, other) for other in SYMBOLS] for one in SYMBOLS]
    np.testing.assert_allclose(told, expected, rtol=1e-12)


def test_it_knows_nothing_before_it_saw_enough() -> None:
    closes = prices(60)

    assert math.isnan(after(closes[:40]).between("A/USDT", "A/USDT"))
    assert after(closes[:41]).between("A/USDT", "A/USDT") > 0


def test_what_comes_later_changes_nothing_that_was_known() -> None:
    closes = prices()
    shocked = closes.copy()
    shocked[200:] *= 3

    assert after(closes[:200]).between("A/USDT", "B/USDT") == after(shocked[:200]).between("A/USDT", "B/USDT")


def test_a_symbol_without_a_new_close_returns_nothing() -> None:
    closes = prices()
    closes[1:, 1] = closes[0, 1]

    assert 0.0 == after(closes).between("B/USDT", "B/USDT")


def deviation(covariance: Covariance, values: dict[str, float]) -> float:
    """Of what positions of these values gain in a bar."""
    return math.sqrt(max(sum(one * other * covariance.between(a, b) for a, one in values.items() for b, other in values.items()), 0.0))


def hedge(aversion: float = 10.0, fee: float = 0.001) -> Hedge:
    settings = RiskSettings(hedge_symbol="H/USDT:USDT", hedge_aversion=aversion, covariance_bars=40)
    made = Hedge.of(GRID, settings, CostSettings(fee_rate=fee), after(prices()))
    assert made is not None
    return made


@given(st.floats(-800, 800), st.floats(-800, 800), st.floats(-800, 800), st.sampled_from([0.0, 0.0002, 0.001]))
def test_no_other_hedge_costs_less_in_variance_and_trading_together(a: float, b: float, held: float, fee: float) -> None:
    """The objective of the module's first paragraph, searched on a grid."""
    equity, made = 1000.0, hedge(fee=fee)
    values = {"A/USDT": a, "B/USDT": b, "H/USDT:USDT": held}

    def objective(value: float) -> float:
        variance = deviation(made.covariance, {**values, "H/USDT:USDT": value}) ** 2
        return made.weight * variance / (2 * equity) + made.cost * abs(value - held)

    best = objective(made.target(values, equity))

    assert all(best <= objective(other) + 1e-9 for other in np.linspace(-2500, 2500, 201))


def test_a_hedged_book_moves_less() -> None:
    made = hedge(fee=0.0)
    unhedged = {"A/USDT": 600.0, "B/USDT": 100.0}

    hedged = {**unhedged, "H/USDT:USDT": made.target(unhedged, 1000.0)}

    assert deviation(made.covariance, hedged) < 0.3 * deviation(made.covariance, unhedged)


def test_inside_the_band_nothing_is_traded() -> None:
    made = hedge(aversion=0.01)

    assert 0 == made.lots({"A/USDT": 600.0}, 100.0, 1000.0)


def test_lots_lead_to_the_target_and_small_orders_are_not_made() -> None:
    made, values = hedge(), {"A/USDT": 600.0}

    lots = made.lots(values, 100.0, 1000.0)

    assert abs(lots * 0.1 - made.target(values, 1000.0)) < 0.1
    assert 0 == made.lots({**values, "H/USDT:USDT": lots * 0.1}, 100.0, 1000.0)
    # The venue takes nothing below 5: 3 beyond the band's edge wait, 8 do not.
    edge = made.target(values, 1000.0)
    assert 0 == made.lots({**values, "H/USDT:USDT": edge + 3}, 100.0, 1000.0)
    assert pytest.approx(-8, abs=0.11) == 0.1 * made.lots({**values, "H/USDT:USDT": edge + 8}, 100.0, 1000.0)


def test_a_hedge_must_be_a_perpetual_that_is_traded_under_a_name_of_its_own() -> None:
    covariance = after(prices())
    spot, absent = RiskSettings(hedge_symbol="A/USDT"), RiskSettings(hedge_symbol="X/USDT:USDT")
    shared = {**GRID, "H/USDT": Instrument("H/USDT", "H:USDT", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))}

    assert Hedge.of(GRID, RiskSettings(), CostSettings(), None) is None
    for settings, instruments, said in (
        (spot, GRID, "spot cannot"),
        (absent, GRID, "among the instruments"),
        (RiskSettings(hedge_symbol=SYMBOLS[2]), shared, "of its own"),
    ):
        with pytest.raises(ContractBroken, match=said):
            Hedge.of(instruments, settings, CostSettings(), covariance)
