"""A result put to the test: neighbours, worse terms, other sequences, and markets where there is nothing to know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, PerpetualSettings, TradingSettings
from desk.backtest.panel import Panel
from desk.backtest.robustness import Case, delayed, placebo, plateau, resampled, resampled_trades, round_trips, share_near_best, stresses, volatility
from desk.costs import charged_rates

Market = Callable[[int, int, int], Panel]


def _case(bars: Panel, targets: np.ndarray, limits: RiskSettings) -> Case:
    return Case(bars, targets, CostSettings(), limits, TradingSettings(rebalance_band=0.0))


def _wavering(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Exposures that are held for a while, change sign and are sometimes flat."""
    drawn = np.random.default_rng(seed).choice([-1.0, -0.4, 0.0, 0.0, 0.6, 1.0], (shape[0] // 7 + 1, shape[1]))
    return np.repeat(drawn, 7, axis=0)[: shape[0]]


def _table(rows: list[list[float]]) -> pl.DataFrame:
    return pl.DataFrame([{"size": float(i), "bars_late": j, "sharpe": value} for i, row in enumerate(rows) for j, value in enumerate(row)])


def test_delayed_exposures_are_the_same_ones_later() -> None:
    np.testing.assert_array_equal([[np.nan], [np.nan], [1.0], [0.5]], delayed(np.array([[1.0], [0.5], [0.2], [0.1]]), 2))


def test_dearer_costs_are_dearer_in_every_tier(market: Market, open_limits: RiskSettings) -> None:
    """An account whose tier is far below `fee_rate` pays twice its own rates, not the same."""
    tiers = [{"volume": 1e6, "taker": 0.0004, "maker": 0.0001}, {"volume": 2e6, "taker": 0.0002}]
    case = replace(_case(market(3, 300, 1), _wavering(1, (300, 1)), open_limits), costs=CostSettings(maker_share=0.5, fee_tiers=tiers))

    twice = [charged_rates(case.dearer(2.0).costs.model_copy(update={"volume_30d": volume})) for volume in (0.0, 1e6, 2e6)]

    assert [(0.002, 0.001), (0.0008, 0.0002), (0.0004, 0.0002)] == twice


def test_every_kind_of_cost_is_dearer(market: Market, open_limits: RiskSettings) -> None:
    """At fixed sizes the same lots trade: each kind costs twice as much, but for the ticks and, with fees, the prices that are worse themselves."""
    case = replace(_case(market(3, 300, 1), _wavering(1, (300, 1)), open_limits), trading=TradingSettings(fixed_units=5.0))

    once, twice = case.result.costs, case.dearer(2.0).result.costs

    assert pytest.approx({"spread": 2 * once["spread"], "impact": 2 * once["impact"]}, rel=1e-6) == {name: twice[name] for name in ("spread", "impact")}
    assert pytest.approx(2 * once["fees"], rel=1e-3) == twice["fees"]


@pytest.mark.parametrize(("exposure", "times"), [(0.5, 2.0), (-0.5, 1.0)], ids=["paid", "received"])
@pytest.mark.parametrize("known", [True, False], ids=["known rates", "the settings' rate"])
def test_funding_is_dearer_where_it_was_paid(market: Market, open_limits: RiskSettings, exposure: float, times: float, known: bool) -> None:
    """Whoever held for months pays it beside the fees; what was received is no cost, and is not doubled into a gain."""
    contract = replace(market(3, 200, 1), symbols=("BTC/USDT:USDT",))
    trading = TradingSettings(fixed_units=5.0, perpetual=PerpetualSettings(funding_rate=0.0 if known else 1e-4))
    case = replace(_case(contract, np.full((200, 1), exposure), open_limits), trading=trading, funding=np.full((200, 1), 1e-4) if known else None)

    once, twice = case.result.costs["funding"], case.dearer(2.0).result.costs["funding"]

    assert (once > 0) is (times == 2.0)
    assert math.isclose(times * once, twice, rel_tol=1e-6)


def test_a_forced_close_is_dearer(market: Market, open_limits: RiskSettings) -> None:
    """Bought with five times the money and closed by force: its fee doubles, on nearly the same notional."""
    bars = replace(market(3, 200, 1), symbols=("BTC/USDT:USDT",))
    price = 100.0 * np.linspace(1.0, 0.5, 200)[:, None]
    falling = replace(bars, open=price, high=price, low=price, close=price, volume=bars.volume * 1e6)
    margin = TradingSettings(gross_weight=4.0, perpetual=PerpetualSettings(leverage=5.0))
    bought = np.full((200, 1), np.nan)
    bought[0] = 1.0
    case = replace(_case(falling, bought, open_limits), trading=margin, costs=CostSettings(participation_cap=1.0))

    once, twice = case.result.costs["liquidation"], case.dearer(2.0).result.costs["liquidation"]

    assert once > 0
    assert math.isclose(2 * once, twice, rel_tol=0.02)


def test_the_plateau_holds_the_tested_point_itself(market: Market, open_limits: RiskSettings) -> None:
    case = _case(market(3, 300, 2), _wavering(1, (300, 2)), open_limits)

    tested = plateau(case).filter((pl.col("size") == 1.0) & (pl.col("bars_late") == 0)).row(0, named=True)

    assert case.result.equity[-1] == tested["equity"]
    assert case.result.measures["sharpe"] == tested["sharpe"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 1.0, 1.0], [1.0, 1.1, 1.0], [1.0, 1.0, 1.0]], 1.0),
        ([[0.1, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.1, 0.1]], 0.0),
        ([[2.0, 1.7], [1.0, math.nan]], 1 / 3),
        ([[-1.0, -1.1], [-3.0, -1.3]], 1 / 3),
        ([[math.nan, math.nan]], math.nan),
        ([[1.0]], math.nan),
    ],
    ids=["plateau", "peak", "corner", "losses", "undefined", "alone"],
)
def test_neighbours_within_a_fifth_of_the_best_stand_on_the_plateau(rows: list[list[float]], expected: float) -> None:
    assert pytest.approx(expected, nan_ok=True) == share_near_best(_table(rows))


def test_worse_terms_cost_what_they_say(market: Market, open_limits: RiskSettings) -> None:
    """Twice the cost takes more, and a bar later is the kernel's answer to the shifted exposures."""
    case = _case(market(4, 300, 2), _wavering(2, (300, 2)), open_limits)

    found = {row["name"]: row for row in stresses(case).iter_rows(named=True)}
    shifted = replace(case, targets=delayed(case.targets, 1))

    assert found["every cost doubled"]["total_return"] < found["as tested"]["total_return"]
    assert shifted.result.measures["total_return"] == found["one bar later"]["total_return"]
    assert found["both"]["total_return"] < found["one bar later"]["total_return"]
    assert case.result.fills.height == found["as tested"]["fills"]


@pytest.mark.parametrize("seed", range(5))
def test_trades_add_up_to_what_the_account_made(market: Market, open_limits: RiskSettings, seed: int) -> None:
    """Every fill and every fee belongs to one trade; what is still open counts at the last price."""
    case = _case(market(seed, 250, 3), _wavering(seed, (250, 3)), open_limits)
    cash = float(case.trading.initial_cash)
    prices = dict(zip(case.bars.symbols, case.bars.close[-1], strict=True))

    trips = round_trips(case.result, prices, cash)
    before = [
        cash if (at := np.searchsorted(case.result.times, opened.replace(tzinfo=None), side="right")) == 0 else case.result.equity[at - 1]
        for opened in trips["opened"]
    ]

    assert trips.height > 20
    assert trips["closed"].is_sorted()
    assert math.isclose(case.result.equity[-1] - cash, float((trips["gain"] * pl.Series(before)).sum()), rel_tol=1e-9)


def test_turning_a_position_over_ends_one_trade_and_begins_the_next(market: Market, open_limits: RiskSettings) -> None:
    targets = np.full((40, 1), np.nan)
    targets[[3, 10, 20], 0] = 1.0, -1.0, 0.0
    case = _case(market(6, 40, 1), targets, open_limits)

    trips = round_trips(case.result, {"ADA/USDT": float(case.bars.close[-1, 0])}, float(case.trading.initial_cash))

    assert [(4, 11), (11, 21)] == [
        tuple(int(np.searchsorted(case.bars.times, moment.replace(tzinfo=None))) for moment in pair) for pair in trips.select("opened", "closed").iter_rows()
    ]


def test_nothing_traded_makes_no_trades(market: Market, open_limits: RiskSettings) -> None:
    case = _case(market(6, 40, 1), np.zeros((40, 1)), open_limits)

    trips = round_trips(case.result, {"ADA/USDT": 1.0}, 1.0)

    assert trips.is_empty()
    assert resampled_trades(trips, 1.0) is None


def test_resamples_surround_what_happened_and_come_again() -> None:
    returns = np.random.default_rng(8).normal(0.0005, 0.01, 800)

    found, again = resampled(returns, 8760.0, n_resamples=400), resampled(returns, 8760.0, n_resamples=400)

    for row in found.percentiles.iter_rows(named=True):
        assert row["p5"] < row["p25"] < row["p50"] < row["p75"] < row["p95"]
        assert row["p5"] < row["happened"] < row["p95"]
    assert found.percentiles.equals(again.percentiles)
    assert [1.0, 1.0, 1.0, 1.0] == list(found.curves.row(0))
    assert math.isclose(np.prod(1 + returns), found.curves["happened"][-1])
    assert (found.at[0], found.at[-1]) == (0, 800)


def test_the_spread_of_resampled_returns_is_that_of_independent_bars() -> None:
    """Of independent bars the log of growth is normal with n times the variance of one: its quartiles are known."""
    returns = np.random.default_rng(9).normal(0.0, 0.005, 2000)

    found = resampled(returns, 8760.0, n_resamples=1500).percentiles.row(0, named=True)

    apart = math.log1p(found["p75"]) - math.log1p(found["p25"])
    assert math.isclose(2 * 0.6745 * returns.std() * math.sqrt(2000), apart, rel_tol=0.12)


def test_bars_that_never_vary_have_one_history() -> None:
    found = resampled(np.full(50, 0.01), 365.0, n_resamples=20).percentiles

    assert found.row(0)[1:6] == pytest.approx([1.01**50 - 1] * 5)
    assert all(math.isnan(value) for value in found.row(2)[1:])


def test_exposures_that_hold_nothing_are_as_good_as_any(market: Market, open_limits: RiskSettings) -> None:
    found = placebo(_case(market(6, 60, 2), np.zeros((60, 2)), open_limits))

    assert {0.0} == set(found["total_return"])
    assert {1.0} == set(found["as_good"])
    assert ["diffusion", "jumps", "regimes", "clusters", "bounce"] == found["world"].to_list()


def test_knowing_the_next_bar_is_not_luck(market: Market, open_limits: RiskSettings) -> None:
    """Exposures that foresee the market they were made on lose their wits on any other."""
    bars = market(7, 300, 1)
    foresight = np.zeros_like(bars.close)
    foresight[:-2] = np.sign(bars.close[2:] / bars.open[1:-1] - 1)[:, :] * 1.0

    found = placebo(_case(bars, foresight, open_limits))

    assert {0.0} == set(found["as_good"])


@pytest.mark.parametrize("n_rows", [2, 9])
def test_a_handful_of_bars_is_put_to_every_test_too(market: Market, open_limits: RiskSettings, n_rows: int) -> None:
    case = _case(market(6, n_rows, 1), np.ones((n_rows, 1)), open_limits)

    assert 20 == plateau(case).height
    assert 4 == stresses(case).height
    assert (0 if n_rows < 3 else 5) == placebo(case).height


def test_volatility_leaves_out_what_is_missing() -> None:
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 0.02, (4000, 2)), axis=0))
    close[100:150, 0] = np.nan
    times = np.datetime64("2024-01-01", "us") + np.arange(4000) * np.timedelta64(1, "h")

    assert math.isclose(0.02, volatility(Panel(times, ("A/USDT", "B/USDT"), close, close, close, close, close)), rel_tol=0.03)


def test_a_case_with_known_funding_is_played_again_at_those_rates(market: Market, open_limits: RiskSettings) -> None:
    """A tenth of a percent every bar: no point of the plateau, no stress and no placebo may forget it."""
    bars = market(3, 200, 2)
    contracts = replace(bars, symbols=("ADA/USDT:USDT", "BTC/USDT:USDT"))
    free = _case(contracts, np.full((200, 2), 0.4), open_limits)
    paying = replace(free, funding=np.full((200, 2), 1e-3))

    tested = plateau(paying).filter((pl.col("size") == 1.0) & (pl.col("bars_late") == 0)).row(0, named=True)

    assert paying.result.equity[-1] == tested["equity"]
    assert paying.result.measures["sharpe"] == tested["sharpe"]
    assert (plateau(paying)["equity"] < plateau(free)["equity"]).all()
    assert (stresses(paying)["total_return"] < stresses(free)["total_return"]).all()
    assert (placebo(paying)["total_return"] < placebo(free)["total_return"]).all()
