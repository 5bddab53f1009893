"""What must hold of any backtest. That it is the session's own accounting is shown in tests/agreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate, sweep
from desk.backtest.panel import Floats, Panel
from desk.backtest.result import first_difference
from desk.errors import ContractBroken
from desk.instruments import Instrument

Market = Callable[[int, int, int], Panel]

COSTS = CostSettings(fee_rate=0.001, half_spread_bps=2.0, impact_bps=15.0, participation_cap=0.1)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40)


def exposures(seed: int, bars: Panel) -> Floats:
    """Wishes that change now and then, shorts and no opinions among them."""
    random = np.random.default_rng(seed)
    wishes = np.repeat(random.uniform(-1, 1, (len(bars.times) // 5 + 1, len(bars.symbols))), 5, axis=0)[: len(bars.times)]
    wishes[random.random(wishes.shape) < 0.1] = np.nan
    return wishes


def one_coin(opens: list[float], closes: list[float], volume: float = 1e6) -> Panel:
    column = [np.array(values)[:, None] for values in (opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, [volume] * len(opens))]
    times = np.datetime64("2024-01-01", "us") + np.arange(len(opens)) * np.timedelta64(1, "h")
    return Panel(times, ("BTC/USDT",), *column)


def coin(symbol: str = "BTC/USDT") -> dict[str, Instrument]:
    return {symbol: Instrument(symbol, "BTC", "USDT", Decimal("0.01"), Decimal(1), Decimal(5))}


def test_a_hand_computed_trade(open_limits: RiskSettings) -> None:
    """1000 at 10 want 100 coins. At the next open 10 bps worse and .1 % of fee make 10.02001 a coin: the cash carries 99."""
    bars = one_coin([10.0, 10.0, 10.4], [10.0, 10.5, 10.4])
    costs = CostSettings(fee_rate=0.001, half_spread_bps=10.0, impact_bps=0.0, participation_cap=1.0)
    account = TradingSettings(initial_cash=Decimal(1000), gross_weight=1.0)

    result = simulate(bars, np.array([[1.0], [np.nan], [np.nan]]), costs, open_limits, instruments=coin(), trading=account)

    assert [("buy", 99, 1001)] == result.fills.select("side", "lots", "ticks").rows()
    left = 1000 - 99 * 10.01 * 1.001
    assert [1000.0, pytest.approx(left + 99 * 10.5), pytest.approx(left + 99 * 10.4)] == result.equity.tolist()
    assert result.fills["time"][0].replace(tzinfo=None) == bars.times[1].astype(object)


def test_a_small_volume_fills_in_part_and_the_rest_is_decided_afresh(open_limits: RiskSettings) -> None:
    bars = one_coin([10.0] * 4, [10.0] * 4, volume=300.0)
    costs = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0, participation_cap=0.1)
    account = TradingSettings(initial_cash=Decimal(1000), gross_weight=1.0)

    result = simulate(bars, np.ones((4, 1)), costs, open_limits, instruments=coin(), trading=account)

    assert [30, 30, 30] == result.fills["lots"].to_list()


def test_an_order_whose_symbol_has_no_bar_next_dies(open_limits: RiskSettings) -> None:
    """BTC pauses in the second row while ETH trades on: its order of the first row is gone, that of the third is filled in the fourth."""
    prices = np.full((4, 2), 10.0)
    prices[1, 0] = np.nan
    times = np.datetime64("2024-01-01", "us") + np.arange(4) * np.timedelta64(1, "h")
    bars = Panel(times, ("BTC/USDT", "ETH/USDT"), *[prices] * 4, prices * 1e5)
    targets = np.array([[1.0, np.nan], [np.nan, np.nan], [0.5, np.nan], [np.nan, np.nan]])

    result = simulate(bars, targets, COSTS, open_limits)

    assert [(times[3].astype(object), "BTC/USDT")] == [(time.replace(tzinfo=None), symbol) for time, symbol in result.fills.select("time", "symbol").rows()]


def test_a_fall_from_the_peak_lets_only_reducing_orders_pass_from_then_on() -> None:
    limits = RiskSettings(max_position_weight=2.0, max_gross_weight=2.0, max_drawdown=0.2, max_daily_loss=1.0)
    bars = one_coin([10.0, 10.0, 7.0, 7.0, 7.0, 7.0], [10.0, 10.0, 7.0, 7.0, 7.0, 7.0])
    targets = np.array([[0.9], [np.nan], [1.0], [0.0], [1.0], [np.nan]])

    result = simulate(bars, targets, CostSettings(), limits, instruments=coin())

    assert ["buy", "sell"] == result.fills["side"].to_list()
    assert ["drawdown", "drawdown"] == result.refusals["guard"].to_list()
    assert 0.0 == result.positions[-1, 0]


def test_a_bad_day_lets_only_reducing_orders_pass_until_the_next() -> None:
    limits = RiskSettings(max_position_weight=2.0, max_gross_weight=2.0, max_drawdown=1.0, max_daily_loss=0.1)
    closes = [10.0, 10.0] + [8.0] * 30
    wishes = np.full((32, 1), np.nan)
    wishes[0], wishes[3:] = 0.9, 1.0

    result = simulate(one_coin(closes, closes), wishes, CostSettings(), limits, instruments=coin())

    refused = [time.isoformat() for time in result.refusals["time"]]
    assert [f"2024-01-01T{hour:02d}:00:00+00:00" for hour in range(4, 24)] == refused
    assert ["buy", "buy"] == result.fills["side"].to_list()


@pytest.mark.parametrize("units", [0.0, 9_500.0])
@pytest.mark.parametrize("carries", [False, True])
@pytest.mark.parametrize(("limit", "guard"), [("max_daily_loss", "daily_loss"), ("max_drawdown", "drawdown")])
@pytest.mark.parametrize("wishes_between", [np.nan, 0.5])
def test_a_limit_met_while_nothing_was_asked_latches_although_it_was_made_good(
    limit: str, guard: str, carries: bool, units: float, wishes_between: float
) -> None:
    """Half is held, one close takes a fifth of it, the next gives it back; hours later more is wanted, the same day. Bars without a wish count like others,
    those that are marked many at a time too: at a fixed size all between the first wish and the last.
    """
    limits = RiskSettings(**{"max_position_weight": 2.0, "max_gross_weight": 2.0, "max_drawdown": 1.0, "max_daily_loss": 1.0} | {limit: 0.05})
    closes = [10.0, 10.0, 10.0, 8.0] + [10.0] * 8
    wishes = np.full((12, 1), wishes_between)
    wishes[0], wishes[9] = 0.5, 1.0

    result = simulate(
        one_coin(closes, closes), wishes, CostSettings(), limits, instruments=coin(), trading=TradingSettings(carry_partials=carries, fixed_units=units)
    )

    assert (10, guard) == next((time.hour, refused) for time, refused in reversed(result.refusals.select("time", "guard").rows()))
    assert ["buy"] == result.fills["side"].to_list()
    assert pytest.approx(0.5 * 0.95 * 0.2, rel=0.02) == result.measures["max_drawdown"]


@pytest.mark.parametrize("length", range(4, 12))
@pytest.mark.parametrize("lowest", range(3, 11))
def test_the_deepest_fall_is_found_wherever_it_lies(open_limits: RiskSettings, length: int, lowest: int) -> None:
    """Bars that ask for nothing are marked many at a time: at the first of them, at the last, in even numbers and odd."""
    closes = np.full(length, 10.0)
    closes[min(lowest, length - 1)] = 6.0
    wishes = np.full((length, 1), np.nan)
    wishes[0] = 1.0

    account = TradingSettings(fixed_units=9_500.0)

    result = simulate(one_coin(closes.tolist(), closes.tolist()), wishes, CostSettings(), open_limits, instruments=coin(), trading=account)

    assert pytest.approx(float(np.max(1 - result.equity / np.maximum.accumulate(result.equity))), rel=1e-12) == result.measures["max_drawdown"]
    assert 0.35 < result.measures["max_drawdown"] < 0.4


@quick
@given(seed=seeds, n_assets=st.integers(1, 4))
def test_money_is_conserved(market: Market, seed: int, n_assets: int) -> None:
    """Equity is the cash at the start, less what was paid, plus what was received, plus what is held: recomputed from the fills in Decimal."""
    bars = market(seed, 80, n_assets)
    result = simulate(bars, exposures(seed, bars), COSTS, RiskSettings())

    step = Decimal("1e-8")
    cash, held = Decimal(100_000), dict.fromkeys(bars.symbols, 0)
    for fill in result.fills.iter_rows(named=True):
        sign = 1 if fill["side"] == "buy" else -1
        notional = fill["lots"] * step * fill["ticks"] * step
        cash -= sign * notional + notional * Decimal("0.001")
        held[fill["symbol"]] += sign * fill["lots"]

    worth = sum(float(held[symbol] * step) * bars.close[-1, column] for column, symbol in enumerate(bars.symbols))
    last_fill_is_marked = result.fills.is_empty() or result.fills["time"][-1].replace(tzinfo=None) <= bars.times[-1].astype(object)
    assert last_fill_is_marked
    assert pytest.approx(float(cash) + worth, rel=1e-12) == result.equity[-1]
    assert [pytest.approx(float(held[symbol] * step), rel=1e-12) for symbol in bars.symbols] == result.positions[-1].tolist()


@quick
@given(seed=seeds)
def test_no_fill_takes_more_than_its_share_of_a_bar(market: Market, seed: int) -> None:
    bars = market(seed, 80, 2)
    thin = replace(bars, volume=bars.volume / 50)

    fills = simulate(thin, exposures(seed, bars), COSTS, RiskSettings()).fills

    row = np.searchsorted(bars.times, fills["time"].dt.replace_time_zone(None).to_numpy())
    column = [bars.symbols.index(symbol) for symbol in fills["symbol"]]
    assert (fills["quantity"].to_numpy() <= COSTS.participation_cap * thin.volume[row, column] * (1 + 1e-9)).all()


@quick
@given(seed=seeds, cheap=st.floats(0, 0.005), dear=st.floats(0, 0.005), kind=st.sampled_from(["fee_rate", "half_spread_bps", "impact_bps"]))
def test_dearer_trading_never_leaves_more(market: Market, seed: int, cheap: float, dear: float, kind: str) -> None:
    """In and out once, of the same size: what is left falls with every kind of cost."""
    bars = market(seed, 30, 1)
    targets = np.full((30, 1), np.nan)
    targets[3], targets[20] = 0.5, 0.0
    scale = 1 if kind == "fee_rate" else 1e4
    cheap, dear = sorted((cheap, dear))

    ends = [
        simulate(bars, targets, CostSettings(participation_cap=1.0, **{kind: rate * scale}), RiskSettings(max_position_weight=1)).equity[-1]
        for rate in (cheap, dear)
    ]

    assert ends[1] <= ends[0]


@quick
@given(seed=seeds)
def test_the_order_of_the_columns_does_not_matter(market: Market, seed: int) -> None:
    bars = market(seed, 60, 4)
    wishes = exposures(seed, bars)
    order = np.random.default_rng(seed).permutation(4)
    shuffled = replace(
        bars,
        symbols=tuple(bars.symbols[column] for column in order),
        **{name: getattr(bars, name)[:, order] for name in ("open", "high", "low", "close", "volume")},
    )
    account = TradingSettings(gross_weight=2.0)

    plain = simulate(bars, wishes, COSTS, RiskSettings(), trading=account)
    permuted = simulate(shuffled, wishes[:, order], COSTS, RiskSettings(), trading=account)

    assert first_difference(plain, permuted) is None
    assert plain.positions[:, order].tolist() == permuted.positions.tolist()


@quick
@given(seed=seeds)
def test_names_matter_only_when_cash_is_short(market: Market, seed: int, open_limits: RiskSettings) -> None:
    """Swap the names of two coins: the same money is made as long as nobody has to wait for cash."""
    bars = market(seed, 60, 2)
    wishes = np.abs(exposures(seed, bars))
    swapped = replace(bars, symbols=("BTC/USDT", "ADA/USDT"))
    account = TradingSettings(gross_weight=0.5)

    plain, renamed = (simulate(each, wishes, COSTS, open_limits, trading=account) for each in (bars, swapped))

    assert plain.equity.tolist() == pytest.approx(renamed.equity.tolist(), rel=1e-12)


@quick
@given(seed=seeds, row=st.integers(1, 78))
def test_the_future_changes_nothing_that_happened(market: Market, seed: int, row: int) -> None:
    """Everything from `row` on is replaced: marks before it, and fills before it, stay as they were."""
    bars, other = market(seed, 80, 2), market(seed + 1, 80, 2)
    wishes = exposures(seed, bars)
    changed = {name: np.concatenate([getattr(bars, name)[:row], getattr(other, name)[row:]]) for name in ("open", "high", "low", "close", "volume")}

    before = simulate(bars, wishes, COSTS, RiskSettings())
    after = simulate(replace(bars, **changed), np.concatenate([wishes[:row], -wishes[row:]]), COSTS, RiskSettings())

    assert before.equity[:row].tolist() == after.equity[:row].tolist()
    cut = pl.lit(bars.times[row]).dt.replace_time_zone("UTC")
    assert before.fills.filter(pl.col("time") < cut).equals(after.fills.filter(pl.col("time") < cut))


@quick
@given(seed=seeds)
def test_a_signal_from_the_next_bar_is_another_backtest(market: Market, seed: int) -> None:
    """Trading on the sign of the coming move must not look like trading on the last one: it makes more, and by a lot."""
    bars = market(seed, 80, 1)
    moves = np.sign(np.diff(bars.close, axis=0, prepend=bars.close[:1]))
    free = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0, participation_cap=1)
    limits = RiskSettings(max_position_weight=2, max_gross_weight=2, max_drawdown=1)

    honest = simulate(bars, moves, free, limits)
    peeking = simulate(bars, np.concatenate([moves[2:], np.zeros((2, 1))]), free, limits)

    assert first_difference(honest, peeking) is not None
    assert peeking.equity[-1] > honest.equity[-1]


def test_exposures_of_the_wrong_shape_or_size_are_refused(market: Market) -> None:
    bars = market(1, 10, 2)

    with pytest.raises(ContractBroken, match="shape"):
        simulate(bars, np.zeros((10, 1)), COSTS, RiskSettings())
    with pytest.raises(ContractBroken, match=r"\[-1, 1\], found 1.5"):
        simulate(bars, np.full((10, 2), 1.5), COSTS, RiskSettings())
    with pytest.raises(ContractBroken, match="instrument"):
        simulate(bars, np.zeros((10, 2)), COSTS, RiskSettings(), instruments=coin())


def test_an_account_that_came_to_nothing_has_no_returns_from_there(open_limits: RiskSettings) -> None:
    """1000 sold short at 10, at 20 nothing is left: what comes after is no return of anything, and no ratio of returns is defined."""
    closes = [10.0, 10.0, 20.0, 15.0, 15.0]
    wishes = np.array([[-1.0], [np.nan], [np.nan], [np.nan], [np.nan]])
    free = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0, participation_cap=1.0)
    account = TradingSettings(initial_cash=Decimal(1000), gross_weight=1.0)

    result = simulate(one_coin(closes, closes), wishes, free, open_limits, instruments=coin(), trading=account)

    assert [1000.0, 1000.0, 0.0, 500.0, 500.0] == result.equity.tolist()
    assert all(np.isnan(result.measures[name]) for name in ("sharpe", "sortino", "hit_rate", "profit_factor", "value_at_risk"))


@pytest.mark.parametrize("row", [0, 5, 6])
@pytest.mark.parametrize("wish", [1.005, -1.005])
def test_an_exposure_beyond_one_is_refused_also_where_it_would_order_nothing(open_limits: RiskSettings, row: int, wish: float) -> None:
    """Half a percent more than what is held lies within the band: no order, and no reason to believe the rest."""
    closes, wishes = [10.0] * 8, np.full((8, 1), np.sign(wish))
    wishes[row] = wish

    with pytest.raises(ContractBroken, match=r"found 1\.005"):
        simulate(one_coin(closes, closes), wishes, CostSettings(), open_limits)


def test_a_sweep_is_the_same_backtests_one_by_one(market: Market) -> None:
    bars = market(3, 200, 2)

    def momentum(panel: Panel, *, window: int, size: float) -> Floats:
        moved = panel.close[window:] / panel.close[:-window] - 1
        return np.concatenate([np.full((window, 2), np.nan), np.where(moved > 0, size, 0.0)])

    table = sweep(bars, momentum, {"window": [5, 20, 50], "size": [0.5, 1.0]}, COSTS, RiskSettings(), threads=2)

    assert ["window", "size", "equity", "sharpe", "fills"] == table.columns
    assert [(5, 0.5), (5, 1.0), (20, 0.5), (20, 1.0), (50, 0.5), (50, 1.0)] == table.select("window", "size").rows()
    for window, size, equity, sharpe, fills in table.rows():
        alone = simulate(bars, momentum(bars, window=window, size=size), COSTS, RiskSettings())
        assert (alone.equity[-1], alone.measures["sharpe"], len(alone.fills)) == (equity, sharpe, fills)


@pytest.mark.parametrize("power", [-9, -6, -5, -3, -1, 1, 4, 7])
def test_what_a_coin_is_counted_in_does_not_matter(market: Market, open_limits: RiskSettings, power: int) -> None:
    """A thousandth, a millionth of the price and as many times the volume is the same market: no tick is a share of the price, no volume too many lots."""
    bars, unit = market(5, 200, 2), 10.0**power
    other = replace(bars, open=bars.open * unit, high=bars.high * unit, low=bars.low * unit, close=bars.close * unit, volume=bars.volume / unit)
    wishes = exposures(5, bars)

    here, there = (simulate(each, wishes, COSTS, open_limits) for each in (bars, other))

    assert len(here.fills) == len(there.fills) > 50
    np.testing.assert_allclose(here.equity, there.equity, rtol=1e-6)


@pytest.mark.parametrize("found", ["volume", "cash"])
def test_a_lot_too_fine_for_what_is_traded_is_refused(market: Market, open_limits: RiskSettings, found: str) -> None:
    """A coin of a billionth, in lots of 1e-8: the session counts on, integers of 64 bits do not."""
    bars = market(5, 20, 1)
    scale = {"volume": 1e12, "cash": 1.0}[found]
    bars = replace(bars, volume=bars.volume * scale, **{name: getattr(bars, name) * 1e-9 for name in ("open", "high", "low", "close")})
    fine = {symbol: Instrument(symbol, "", "", Decimal("1e-18"), Decimal("1e-8"), Decimal(0)) for symbol in bars.symbols}
    account = TradingSettings(initial_cash=Decimal("1e4") if found == "cash" else Decimal(1))

    with pytest.raises(ContractBroken, match=r"at most 4e\+18 lots, found .* in lots of 1e-08"):
        simulate(bars, np.ones((20, 1)), COSTS, open_limits, instruments=fine, trading=account)


def test_doing_nothing_leaves_everything_as_it_was(market: Market) -> None:
    result = simulate(market(1, 50, 2), np.zeros((50, 2)), COSTS, RiskSettings())

    assert [100_000.0] * 50 == result.equity.tolist()
    assert result.fills.is_empty()
    assert 0.0 == result.measures["total_return"]
    assert np.isnan(result.measures["sharpe"])
