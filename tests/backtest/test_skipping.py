"""The sweep that looks only at changes tells what the loop tells: every fill, and every measure, on any bars, limits and grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import kernel, skipping, strides
from desk.backtest.panel import Floats, Panel
from desk.backtest.result import Result
from desk.backtest.stage import Stage
from desk.backtest.strides import Changes
from desk.errors import ContractBroken
from desk.instruments import Instrument

Market = Callable[[int, int, int], Panel]
BARS, BARS_PER_YEAR = 300, 8760


@st.composite
def rules(draw: st.DrawFn) -> tuple[CostSettings, RiskSettings, TradingSettings, dict[str, Instrument]]:
    """Costs, limits, accounts and grids of which every part binds now and then: cash, volume, smallest order, each guard."""
    costs = CostSettings(
        fee_rate=draw(st.sampled_from([0.0, 0.001, 0.0123])),
        half_spread_bps=draw(st.sampled_from([0.0, 5.0])),
        impact_bps=draw(st.sampled_from([0.0, 15.0])),
        participation_cap=draw(st.sampled_from([0.001, 0.01, 1.0])),
    )
    limits = RiskSettings(
        max_position_weight=draw(st.sampled_from([0.3, 1.0, 100.0])),
        max_gross_weight=draw(st.sampled_from([0.5, 100.0])),
        max_drawdown=draw(st.sampled_from([0.01, 0.1, 1.0])),
        max_daily_loss=draw(st.sampled_from([0.005, 0.05, 1.0])),
        max_net_weight=draw(st.sampled_from([0.2, 100.0])),
    )
    trading = TradingSettings(
        initial_cash=draw(st.sampled_from([Decimal(1_000), Decimal(50_000), Decimal("1e7")])), fixed_units=draw(st.sampled_from([0.37, 1.0, 20.0]))
    )
    lot = draw(st.sampled_from([Decimal("1e-5"), Decimal("0.1"), Decimal(1)]))
    return costs, limits, trading, {"ADA/USDT": Instrument("ADA/USDT", "ADA", "USDT", Decimal("0.01"), lot, draw(st.sampled_from([Decimal(0), Decimal(90)])))}


def flips(seed: int, share: float) -> Floats:
    """Exposures [time, 1] that change at a share of the bars: long, flat, short, some, or no opinion."""
    random = np.random.default_rng(seed)
    wishes = random.choice([1.0, 1.0, 0.0, 0.0, -1.0, 0.5, -0.001, np.nan], BARS)
    last = np.maximum.accumulate(np.where(random.random(BARS) < share, np.arange(BARS), 0))
    return wishes[last][:, None]


def exact_sharpe(said: Result, bars: Panel, account: TradingSettings) -> float:
    """From the fills and the closes in long doubles: a float is too coarse for what one bar adds to a large account."""
    close = bars.close[:, 0].astype(np.longdouble)
    held, cash = np.zeros(BARS, np.longdouble), np.full(BARS, np.longdouble(str(account.initial_cash)))
    for time, side, quantity, price, paid in said.fills.select("time", "side", "quantity", "price", "fee").iter_rows():
        row, sign = int(np.searchsorted(bars.times, np.datetime64(time.replace(tzinfo=None)))), 1 if side == "buy" else -1
        notional = np.longdouble(repr(quantity)) * np.longdouble(repr(price))
        held[row:] += sign * np.longdouble(repr(quantity))
        cash[row:] -= sign * notional + np.longdouble(repr(paid)) / (np.longdouble(quantity) * np.longdouble(price)) * notional
    equity = cash + held * close
    returns = np.diff(equity) / equity[:-1]
    deviation = returns.std(ddof=1)
    return float(returns.mean() / deviation * np.sqrt(np.longdouble(bars.bars_per_year))) if deviation > 0 else np.nan


def of_rounding(said: Result) -> float:
    """What a Sharpe ratio moves by when each mark and each return are rounded once, all to the same side."""
    volatility = said.measures["volatility"]
    return 2 * 2.0**-53 * BARS_PER_YEAR / volatility if volatility > 0 else 0.0


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.1, 0.6]), given_rules=rules())
def test_every_fill_and_measure_is_the_loops(
    market: Market, seed: int, share: float, given_rules: tuple[CostSettings, RiskSettings, TradingSettings, dict[str, Instrument]]
) -> None:
    costs, limits, trading, grid = given_rules
    bars, targets = market(seed, BARS, 1), flips(seed, share)
    stage = Stage.of(bars, costs, limits, instruments=grid, trading=trading)
    course = skipping.course_of(stage)

    said = kernel.simulate(bars, targets, costs, limits, instruments=grid, trading=trading)
    tallies = skipping.play(course, [Changes.of(np.zeros(BARS)), Changes.of(targets)])
    told = skipping.skipped(stage, course, [Changes.of(targets)])[0]

    made = said.fills.select(
        pl.col("time").dt.replace_time_zone(None).to_physical(),
        (pl.when(pl.col("side") == "buy").then(1).otherwise(-1) * pl.col("lots")).alias("lots"),
        "ticks",
    )
    if told is None:
        assert (said.equity <= 0).any()
        return
    count = told[2]
    rows, lots, ticks = course.records.fills[:count].T
    assert made.rows() == list(zip(bars.times[rows].astype("datetime64[us]").astype(int).tolist(), lots.tolist(), ticks.tolist(), strict=True))
    assert said.equity[-1] == pytest.approx(told[0], rel=1e-12)
    exact = exact_sharpe(said, bars, trading)
    assert exact == pytest.approx(told[1], rel=1e-11, abs=of_rounding(said), nan_ok=True)
    assert exact == pytest.approx(said.measures["sharpe"], rel=1e-11, abs=of_rounding(said), nan_ok=True)
    assert said.measures["max_drawdown"] == pytest.approx(tallies[1, 3], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("weight", [1e-7, -1e-4, 0.05, -0.4, 1.0, 3.0])
def test_the_returns_of_a_stretch_are_those_of_its_bars_whatever_it_weighs(market: Market, weight: float) -> None:
    """Against fractions, which round nothing: by the sums that all stretches share where the series is good enough, bar by bar where it is not."""
    bars = market(3, 4_000, 1)
    tape = skipping.tape_of(bars)
    close = [Fraction(price) for price in tape.close.tolist()]
    for first, last in ((0, 9), (17, 40), (700, 860), (1_500, 3_999)):
        held = 1.0 if weight > 0 else -1.0
        cash = held * tape.close[first] / weight - held * tape.close[first]
        equity = [Fraction(cash) + Fraction(held) * price for price in close[first : last + 1]]
        returns = [after / before - 1 for before, after in pairwise(equity)]

        sums = strides.returned(tape, strides.spread(tape, strides.Stretch(first, last, cash, held, 0.0, 0.0)), strides.Sums(0.0, 0.0))

        of_rounding = 2.0**-52 * len(returns)
        assert sums.returns == pytest.approx(float(sum(returns)), rel=1e-11, abs=of_rounding)
        assert sums.squares == pytest.approx(float(sum(each * each for each in returns)), rel=1e-10)


@pytest.mark.parametrize("length", [2, 15, 16, 17, 32, 33, 48, 127, 128, 129, 144, 256, 384])
def test_the_lowest_and_the_highest_close_of_a_stretch_are_found_wherever_they_lie(market: Market, length: int) -> None:
    """Stretches are covered by windows of 16 or of 128 bars: no bar may lie between two of them."""
    bars, first = market(1, 400, 1), 7
    for row in range(first, first + length):
        close = np.full((400, 1), 100.0)
        close[row], close[first + length - 1 - (row - first)] = 90.0, 110.0
        tape = skipping.tape_of(replace(bars, open=close, high=close, low=close, close=close))
        inside = close[first : first + length, 0]

        seen = strides.spread(tape, strides.Stretch(first, first + length - 1, 0.0, 1.0, 100.0, 100.0))

        assert (inside.min(), inside.max()) == (seen.low, seen.high)


def test_a_fall_between_two_changes_latches_although_it_was_made_good(market: Market) -> None:
    """One unit of 100 on 1000 rises to 200, falls to 120 and comes back to 199 before anything changes: the sale passes, no position is opened again."""
    bars = market(1, 12, 1)
    close = np.array([100.0, 100, 100, 200, 120, 199, 199, 199, 199, 199, 199, 199])[:, None]
    bars = replace(bars, open=close, high=close, low=close, close=close, volume=np.full_like(close, 1e9))
    limits, account = (
        RiskSettings(max_position_weight=1.0, max_drawdown=0.05, max_daily_loss=1.0),
        TradingSettings(initial_cash=Decimal(1_000), fixed_units=1.0),
    )
    changes = Changes(np.array([0, 6, 8]), np.array([1.0, 0.0, 1.0]))

    told = skipping.sweep(bars, lambda _, **_grid: changes, {"point": [0]}, COSTS, limits, trading=account)
    said = kernel.simulate(bars, changes.targets(12), COSTS, limits, trading=account)

    assert ["buy", "sell"] == said.fills["side"].to_list()
    assert [(0, pytest.approx(said.equity[-1], rel=1e-12), 2)] == told.select("point", "equity", "fills").rows()


@pytest.mark.parametrize("row", [6, 21, 22, 23, 24, 30])
def test_a_lost_day_ends_with_the_first_close_of_the_next(market: Market, row: int) -> None:
    """One of 100 on 1000 falls by 40 for an hour; twice as many are refused until the close of 24:00, which is the next day's first (row 23)."""
    bars, close = market(1, 40, 1), np.full((40, 1), 100.0)
    close[5] = 60.0
    bars = replace(bars, open=close, high=close, low=close, close=close, volume=np.full_like(close, 1e9))
    limits = RiskSettings(max_position_weight=1.0, max_drawdown=1.0, max_daily_loss=0.03)
    account = TradingSettings(initial_cash=Decimal(1_000), fixed_units=2.0)
    changes = Changes(np.array([0, row, row + 1]), np.array([0.5, 1.0, 0.5]))

    told = skipping.sweep(bars, lambda _, **_grid: changes, {"point": [0]}, COSTS, limits, trading=account)
    said = kernel.simulate(bars, changes.targets(40), COSTS, limits, trading=account)

    assert (1 if row < 23 else 3) == told["fills"].item() == len(said.fills)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.3]))
def test_exposures_told_where_they_change_are_the_same_exposures(seed: int, share: float) -> None:
    targets = flips(seed, share)

    changes = Changes.of(targets)

    assert np.array_equal(targets, changes.targets(BARS), equal_nan=True)
    assert (np.diff(changes.rows) > 0).all()


def momentum(panel: Panel, *, window: int) -> Floats:
    moved = panel.close[window:] / panel.close[:-window] - 1
    return np.concatenate([np.full((window, len(panel.symbols)), np.nan), np.where(moved > 0, 1.0, 0.0)])


def changing(panel: Panel, *, window: int) -> Changes:
    return Changes.of(momentum(panel, window=window))


COSTS, GRID = CostSettings(), {"window": [1, 2, 3, 5, 8, 13, 21]}


@pytest.mark.parametrize("assets", [1, 2])
@pytest.mark.parametrize("units", [0.0, 1.0])
def test_it_is_the_sweep_of_the_kernel_whatever_is_swept(market: Market, open_limits: RiskSettings, assets: int, units: float) -> None:
    """Sizes by weight and several assets depend on the path: they are played by the loop, in the same table."""
    bars, account = market(5, BARS, assets), TradingSettings(fixed_units=units)

    told = skipping.sweep(bars, momentum, GRID, COSTS, open_limits, trading=account, threads=2)
    said = kernel.sweep(bars, momentum, GRID, COSTS, open_limits, trading=account)

    assert told.select("window", "fills").equals(said.select("window", "fills"))
    assert told.columns == said.columns
    assert told["equity"].to_list() == pytest.approx(said["equity"].to_list(), rel=1e-12)
    # The loop rounds each mark: what that moves a ratio by is told above.
    assert told["sharpe"].to_list() == pytest.approx(said["sharpe"].to_list(), rel=1e-9)


@pytest.mark.parametrize("units", [0.0, 1.0])
def test_a_rule_may_tell_its_changes_only(market: Market, units: float) -> None:
    bars, account = market(5, BARS, 1), TradingSettings(fixed_units=units)

    told = skipping.sweep(bars, changing, GRID, COSTS, RiskSettings(), trading=account)

    assert told.equals(skipping.sweep(bars, momentum, GRID, COSTS, RiskSettings(), trading=account))


@pytest.mark.parametrize("wrong", [{"at_once": -1}, {"threads": 0}])
def test_a_sweep_by_no_thread_or_by_less_than_no_points_is_refused(market: Market, wrong: dict[str, int]) -> None:
    with pytest.raises(ContractBroken, match="expected threads of at least 1 and at_once of at least 0"):
        skipping.sweep(market(5, BARS, 1), lambda _, **_window: np.zeros((BARS, 1)), GRID, COSTS, RiskSettings(), **wrong)


def test_a_rule_may_be_asked_for_several_points_at_once(market: Market) -> None:
    """The last call asks for what is left; the table is that of one point a call."""
    bars, account = market(5, BARS, 1), TradingSettings(fixed_units=1.0)
    calls: list[list[int]] = []

    def several(panel: Panel, *, window: list[int]) -> list[Changes]:
        calls.append(window)
        return [changing(panel, window=each) for each in window]

    told = skipping.sweep(bars, several, GRID, COSTS, RiskSettings(), trading=account, at_once=3)

    assert [[1, 2, 3], [5, 8, 13], [21]] == calls
    assert told.equals(skipping.sweep(bars, changing, GRID, COSTS, RiskSettings(), trading=account))


def test_a_rule_that_leaves_a_point_unanswered_is_refused(market: Market) -> None:
    with pytest.raises(ContractBroken, match="expected 3 answers"):
        skipping.sweep(market(5, BARS, 1), lambda _, **_window: [], GRID, COSTS, RiskSettings(), trading=TradingSettings(fixed_units=1.0), at_once=3)


def test_what_it_does_not_know_is_left_to_the_loop(market: Market) -> None:
    bars, fixed = market(5, BARS, 1), TradingSettings(fixed_units=1.0)
    pause = np.where(np.arange(BARS)[:, None] == 7, np.nan, bars.close)

    def free(panel: Panel = bars, trading: TradingSettings = fixed, limits: RiskSettings = RiskSettings()) -> bool:  # noqa: B008 - frozen
        return skipping.path_free(Stage.of(panel, COSTS, limits, instruments=None, trading=trading))

    assert free()
    assert not free(trading=TradingSettings())
    assert not free(trading=TradingSettings(fixed_units=1.0, protective_stop=0.1))
    assert not free(trading=TradingSettings(fixed_units=1.0, carry_partials=True))
    assert not free(limits=RiskSettings(price_collar=0.1))
    assert not free(panel=replace(bars, symbols=("BTC/USDT:USDT",)))
    assert not free(panel=replace(bars, close=pause))
    assert not free(panel=market(5, BARS, 2))


def test_exposures_beyond_one_are_refused(market: Market) -> None:
    with pytest.raises(ContractBroken, match=r"\[-1, 1\], found 1.5"):
        skipping.sweep(
            market(1, 10, 1),
            lambda _, size: Changes(np.array([3]), np.array([size])),
            {"size": [1.5]},
            COSTS,
            RiskSettings(),
            trading=TradingSettings(fixed_units=1),
        )
