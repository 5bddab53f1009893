"""Constructions as the session asks them: one cross-section in, exposures out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from configs.trading import CostSettings, PolicySettings, TradingSettings
from configs.vocabulary import Construction
from desk.events import Forecast
from desk.strategy.allocation import Floats, ewma_covariance, patience
from desk.strategy.band import BandPolicy
from desk.strategy.construction import CONSTRUCTIONS, PortfolioConstruction
from desk.strategy.ensemble import Ensemble
from desk.strategy.house import house_strategy
from desk.strategy.policy import CrossSection, Strategy, View

AT = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = tuple(CONSTRUCTIONS)


def walk(seed: int, n_bars: int, deviations: Floats) -> Floats:
    """Closes [time, asset] of walks with a common factor."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(n_bars, 1))
    return 100 * np.exp(np.cumsum((0.7 * common + 0.7 * random.normal(size=(n_bars, len(deviations)))) * deviations, axis=0))


def section(closes: Floats, forecasts: list[tuple[float, float] | None], **more: Any) -> CrossSection:
    """A cross-section of A, B, C ...; `previous` by place."""
    previous = more.pop("previous", [0.0] * len(forecasts))
    views = []
    for place, opinion in enumerate(forecasts):
        symbol = f"{chr(65 + place)}/USDT"
        forecast = None if opinion is None else Forecast(symbol, AT, *opinion, "weights")
        views.append(View(symbol, AT, closes[:, place], np.zeros(0, dtype=np.float32), forecast, previous[place]))
    return CrossSection(tuple(views), closes, **{"share": 0.25} | more)


def weights_of(construction: Construction, market: CrossSection, **knobs: Any) -> Floats:
    policy = PortfolioConstruction(construction, PolicySettings(**knobs), CostSettings())
    exposures = policy.decide(market).exposures
    return np.array([exposures[view.symbol] for view in market.views]) * market.share


@pytest.mark.parametrize("construction", EVERY)
@pytest.mark.parametrize("allow_short", [False, True])
def test_no_state_of_the_market_takes_a_construction_beyond_its_limits(construction: Construction, allow_short: bool) -> None:
    """Each weight within the share, all within what is left of the gross, none short where shorts are not allowed."""
    random = np.random.default_rng(3)
    for seed in range(60):
        count = int(random.integers(1, 7))
        share, gross, elsewhere = random.uniform(0.05, 1.0), random.uniform(0.1, 1.5), random.uniform(0, 2)
        closes = walk(seed, 41, random.uniform(0.0005, 0.1, count))
        forecasts = [None if random.random() < 0.2 else (random.normal(0, 0.02), random.uniform(1e-6, 0.05)) for _ in range(count)]
        held = random.uniform(-1.0 if allow_short else 0.0, 1.0, count).tolist()
        market = section(closes, forecasts, previous=held, share=share, elsewhere=elsewhere)

        weights = weights_of(construction, market, allow_short=allow_short, gross=gross, covariance_bars=10)

        assert np.abs(weights).max() <= share
        assert np.abs(weights).sum() <= max(gross - elsewhere * share, 0.0) + 1e-9
        assert allow_short or weights.min() >= 0
        assert all(weight == 0 for weight, forecast in zip(weights, forecasts, strict=True) if forecast is None)


@pytest.mark.parametrize("construction", EVERY)
@pytest.mark.parametrize("opinion", [None, (math.nan, math.nan), (0.1, 0.0)])
def test_without_an_opinion_everything_is_flat(construction: Construction, opinion: tuple[float, float] | None) -> None:
    market = section(walk(1, 41, np.array([0.01, 0.02])), [opinion, opinion], previous=[1.0, 0.5])

    assert [0.0, 0.0] == weights_of(construction, market, covariance_bars=10).tolist()


@pytest.mark.parametrize("construction", EVERY)
def test_a_price_that_never_moved_is_flat_and_harms_nobody(construction: Construction) -> None:
    closes = walk(1, 41, np.array([0.01, 0.02]))
    closes[:, 0] = 5.0

    weights = weights_of(construction, section(closes, [(0.01, 0.01), (0.01, 0.01)]), covariance_bars=10)

    assert 0.0 == weights[0]
    assert weights[1] > 0


@pytest.mark.parametrize("construction", EVERY)
def test_the_order_of_symbols_does_not_matter(construction: Construction) -> None:
    closes, forecasts = walk(2, 41, np.array([0.01, 0.03, 0.02])), [(0.002, 0.02), (0.004, 0.05), (0.003, 0.03)]
    turned = [2, 0, 1]

    straight = weights_of(construction, section(closes, list(forecasts)), covariance_bars=10)
    other = weights_of(construction, section(closes[:, turned], [forecasts[place] for place in turned]), covariance_bars=10)

    assert_allclose(other, straight[turned], rtol=1e-8)


@pytest.mark.slow
def test_volatility_targeting_holds_the_volatility_of_a_market_whose_own_changes() -> None:
    """GARCH(1, 1): calm and storm by a factor of three and more. What is held one bar ahead has the wanted deviation, in calm and in storm alike."""
    random, variance, returns = np.random.default_rng(4), 1e-4, []
    for shock in random.normal(size=9000):
        returns.append(math.sqrt(variance) * shock)
        variance = 1e-6 + 0.07 * returns[-1] ** 2 + 0.92 * variance
    closes = 100 * np.cumprod(1 + np.array(returns))[:, None]
    knobs = {"covariance_bars": 15, "deviation": 0.002, "gross": 5.0}
    window = PortfolioConstruction(Construction.VOL_TARGET, PolicySettings(**knobs), CostSettings()).warmup_bars

    held = np.array(
        [weights_of(Construction.VOL_TARGET, section(closes[end - window : end], [(1.0, 1.0)], share=1.0), **knobs)[0] for end in range(window, len(closes))]
    )
    earned, calm = held * returns[window:], held > np.median(held)

    assert held.max() > 3 * held.min()
    assert_allclose(earned.std(), 0.002, rtol=0.05)
    assert_allclose([earned[calm].std(), earned[~calm].std()], 0.002, rtol=0.12)


def test_volatility_targeting_is_capped_where_the_market_is_too_quiet() -> None:
    market = section(walk(1, 41, np.array([1e-5])), [(1.0, 1.0)], share=0.3)

    assert_allclose(weights_of(Construction.VOL_TARGET, market, covariance_bars=10), [0.3])


def test_kelly_takes_its_fraction_of_mean_over_variance_and_no_more_than_a_share() -> None:
    """Mean log returns of -30, 2 and 100 basis points, each with a deviation of 10 %."""
    market = section(walk(1, 41, np.array([0.01, 0.01, 0.01])), [(-0.006, 0.1), (0.0002, 0.1), (0.01, 0.1)], share=0.4)

    weights = weights_of(Construction.KELLY, market, kelly_fraction=0.25, covariance_bars=10)

    assert_allclose(weights, [0.0, 0.25 * (0.0002 / 0.01 + 0.5), 0.25 * (0.01 / 0.01 + 0.5)], rtol=1e-12)


def test_risk_parity_shares_risk_among_those_with_a_side_and_hedges_with_shorts() -> None:
    closes = walk(3, 41, np.array([0.01, 0.03, 0.02]))
    market = section(closes, [(0.5, 1.0), (0.0, 1.0), (-0.5, 1.0)], share=1.0)

    weights = weights_of(Construction.RISK_PARITY, market, covariance_bars=10, allow_short=True, shrinkage=0.0)
    risks = weights * (ewma_covariance(closes, 10) @ weights)

    assert [1.0, 0.0, -1.0] == np.sign(weights).tolist()
    assert_allclose(risks[0], risks[2], rtol=1e-9)
    assert_allclose(np.abs(weights).sum(), 0.95, rtol=1e-9)


def test_a_symbol_that_is_absent_keeps_its_part_of_the_capital() -> None:
    market = section(walk(3, 41, np.array([0.01, 0.01])), [(0.5, 1.0), (0.5, 1.0)], share=1.0, elsewhere=0.45)

    assert_allclose(weights_of(Construction.HRP, market, covariance_bars=10).sum(), 0.5, rtol=1e-9)


def test_garleanu_and_pedersen_go_part_of_the_way_to_the_same_aim_every_bar() -> None:
    """The way left shrinks by the same factor; dearer trading makes it nearer to one; free trading is there at once, at the mean-variance weights."""
    closes, forecasts = walk(3, 41, np.array([0.01, 0.02])), [(0.0002, 0.01), (0.0002, 0.03)]
    knobs = {"covariance_bars": 10, "signal_decay": 0.0, "aversion": 10.0}
    aim = weights_of(Construction.MEAN_VARIANCE, section(closes, list(forecasts), share=1.0), **knobs)
    variance = float(np.diag(ewma_covariance(closes, 10)).mean())

    for fee_rate in (0.0, 0.001, 0.02):
        costs = CostSettings(fee_rate=fee_rate, half_spread_bps=0.0)
        policy, held, left = PortfolioConstruction(Construction.GARLEANU_PEDERSEN, PolicySettings(**knobs), costs), [0.0, 0.0], [aim]
        for _ in range(3):
            held = list(policy.decide(section(closes, list(forecasts), previous=held, share=1.0)).exposures.values())
            left.append(aim - held)

        factor = 1 - patience(10.0, 2 * fee_rate / variance)
        for before, after in pairwise(left):
            assert_allclose(after, factor * before, atol=1e-12)


def test_settings_name_the_strategy() -> None:
    """Today's rule unless something else is asked for."""
    made = {name: house_strategy(TradingSettings(policy=PolicySettings(construction=name))) for name in Construction}

    expected: dict[Construction, type[Strategy]] = dict.fromkeys(Construction, PortfolioConstruction)
    expected |= {Construction.BAND: BandPolicy, Construction.ENSEMBLE: Ensemble}
    assert expected == {name: type(strategy) for name, strategy in made.items()}
    assert isinstance(house_strategy(TradingSettings()), BandPolicy)


@pytest.mark.parametrize(
    "knobs", [{"members": []}, {"members": ["hrp", "hrp"]}, {"members": ["ensemble"]}, {"shares": [1.0]}, {"shares": [0.7, 0.4]}, {"shares": [0.5, 0.0]}]
)
def test_an_ensemble_that_cannot_be_is_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PolicySettings(**knobs)
