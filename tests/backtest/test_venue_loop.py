"""Stops, contracts and carried orders in the kernel, by hand. That they are the session's own is shown in tests/agreement."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, PerpetualSettings, TradingSettings
from desk.backtest import venue_loop
from desk.backtest.kernel import simulate
from desk.backtest.panel import Floats, Panel
from desk.backtest.result import Result
from desk.backtest.stage import Stage
from desk.errors import ContractBroken
from desk.instruments import Instrument

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

FREE = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0, participation_cap=1)
LOOSE = RiskSettings(max_position_weight=100, max_gross_weight=100, max_net_weight=100, max_drawdown=1, max_daily_loss=1)
SWAP = "BTC/USDT:USDT"


def coin(symbol: str) -> dict[str, Instrument]:
    return {symbol: Instrument(symbol, "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))}


def bars_of(rows: list[tuple[float, float, float, float]], symbol: str = "BTC/USDT", volume: float = 1e6) -> Panel:
    columns = [np.array(column)[:, None] for column in zip(*rows, strict=True)]
    times = np.datetime64("2024-01-01T05:00", "us") + np.arange(len(rows)) * np.timedelta64(1, "h")
    return Panel(times, (symbol,), *columns, np.full((len(rows), 1), volume))


def play(bars: Panel, targets: list[float], funding: Floats | None = None, **trading: object) -> Result:
    account = TradingSettings.model_validate({"initial_cash": 1000, "gross_weight": 1, "rebalance_band": 0, **trading})
    costs = account.costs if "costs" in trading else FREE
    return simulate(bars, np.array(targets)[:, None], costs, LOOSE, instruments=coin(bars.symbols[0]), trading=account, funding=funding)


def told(result: Result) -> list[tuple[str, float, float]]:
    return result.fills.select("side", "quantity", "price").rows()


NAN = float("nan")
FLAT = (100.0, 100.0, 100.0, 100.0)


def test_a_stop_fills_at_its_price_and_beyond_a_gap_at_the_open() -> None:
    inside = play(bars_of([FLAT, FLAT, (100, 101, 90, 99)]), [1, NAN, NAN], protective_stop=0.05)
    gap = play(bars_of([FLAT, FLAT, (90, 101, 89, 99)]), [1, NAN, NAN], protective_stop=0.05)

    assert [("buy", 10.0, 100.0), ("sell", 10.0, 95.0)] == told(inside)
    assert [("buy", 10.0, 100.0), ("sell", 10.0, 90.0)] == told(gap)


def test_funding_is_paid_by_longs_and_received_by_shorts() -> None:
    """Bars close at 6, 7, 8 (funding) and 9 o'clock; 10 contracts at 100 pay .01 of 1000."""
    panel = bars_of([FLAT] * 4, SWAP)
    long, short = (play(panel, [side, NAN, NAN, NAN], perpetual={"funding_rate": 0.01}) for side in (1, -1))

    assert [1000, 1000, 990, 990] == long.equity.tolist()
    assert [1000, 1000, 1010, 1010] == short.equity.tolist()
    assert (10.0, -10.0) == (long.costs["funding"], short.costs["funding"])


def test_known_funding_rates_are_charged_instead_of_the_settings_one() -> None:
    rates = np.array([[0.0], [-0.002], [np.nan], [0.001]])

    result = play(bars_of([FLAT] * 4, SWAP), [1, NAN, NAN, NAN], funding=rates, perpetual={"funding_rate": 0.5 / 8})

    assert [1000, 1002, 1002, 1001] == result.equity.tolist()


def test_margin_limits_what_is_opened_and_never_what_is_closed() -> None:
    """Five times the equity is wanted, three times is carried; all of it can be closed."""
    margin = PerpetualSettings(leverage=3.0).model_dump()
    result = play(bars_of([FLAT] * 4, SWAP), [1, NAN, 0, NAN], gross_weight=5, perpetual=margin)

    assert [("buy", 30.0, 100.0), ("sell", 30.0, 100.0)] == told(result)


def test_an_account_below_maintenance_is_closed_by_force_and_pays_for_it() -> None:
    """40 contracts on 1000: at 76 equity is 40, at most 2 % of 3040 = 60.8. Closed there, with 1 % of notional as the fee: 9.6 are left."""
    margin = {"leverage": 5, "maintenance": 0.02, "liquidation_fee": 0.01}
    rows = [FLAT, FLAT, (100, 100, 76, 76), (76, 200, 76, 200)]

    result = play(bars_of(rows, SWAP), [1, NAN, NAN, NAN], gross_weight=4, perpetual=margin)

    assert [("buy", 40.0, 100.0), ("sell", 40.0, 76.0)] == told(result)
    assert pytest.approx(30.4) == result.costs["liquidation"]
    assert [1000, 1000, pytest.approx(9.6), pytest.approx(9.6)] == result.equity.tolist()
    assert result.fills["time"][-1].hour == 8


def test_what_the_volume_left_is_sent_again_only_if_it_is_asked_for() -> None:
    thin, half = bars_of([FLAT] * 5, volume=8.0), {"costs": FREE.model_copy(update={"participation_cap": 0.5})}

    dies = play(thin, [1, NAN, NAN, NAN, NAN], **half)
    goes_on = play(thin, [1, NAN, NAN, NAN, NAN], carry_partials=True, **half)
    another_wish = play(thin, [1, 0.4, NAN, NAN, NAN], carry_partials=True, **half)

    assert [4.0] == dies.fills["quantity"].to_list()
    assert [4.0, 4.0, 2.0] == goes_on.fills["quantity"].to_list()
    assert [4.0] == another_wish.fills["quantity"].to_list()


def test_a_gain_pays_the_fee_of_an_order_that_rested() -> None:
    costs = FREE.model_copy(update={"fee_rate": 0.01, "maker_share": 0.2})
    rows = [FLAT, FLAT, (100, 111, 100, 105)]

    result = play(bars_of(rows), [0.5, NAN, NAN], protective_stop=0.05, take_profit=0.1, costs=costs)

    assert [("buy", 5.0, 100.0), ("sell", 5.0, 110.0)] == told(result)
    assert [pytest.approx(5.0), pytest.approx(1.1)] == result.fills["fee"].to_list()


def test_funding_rates_of_another_shape_are_refused() -> None:
    with pytest.raises(ContractBroken, match="funding rates of shape"):
        play(bars_of([FLAT] * 3, SWAP), [1, 1, 1], funding=np.zeros((2, 1)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_stops_and_orders_of_one_bar_together_take_no_more_than_its_share(market: Callable[[int, int, int], Panel], seed: int) -> None:
    bars = market(seed, 80, 2)
    costs = CostSettings(participation_cap=0.002)
    targets = np.random.default_rng(seed).uniform(0, 1, (80, 2))

    fills = simulate(bars, targets, costs, RiskSettings(), trading=TradingSettings(trailing_stop=0.01, take_profit=0.005)).fills

    taken = fills.group_by("time", "symbol").agg(pl.col("quantity").sum())
    row = np.searchsorted(bars.times, taken["time"].dt.replace_time_zone(None).to_numpy())
    column = [bars.symbols.index(symbol) for symbol in taken["symbol"]]
    assert (taken["quantity"].to_numpy() <= costs.participation_cap * bars.volume[row, column] * (1 + 1e-9)).all()


def test_python_and_the_compiler_read_the_same_words(market: Callable[[int, int, int], Panel]) -> None:
    bars = market(11, 250, 3)
    targets = np.repeat(np.random.default_rng(11).uniform(0, 1, (50, 3)), 5, axis=0)
    account = TradingSettings(gross_weight=1.5, trailing_stop=0.03, take_profit=0.02, carry_partials=True)
    costs, limits = CostSettings(participation_cap=0.05), RiskSettings(price_collar=0.02, max_expected_shortfall=0.025, covariance_bars=20)

    machine = simulate(bars, targets, costs, limits, trading=account)
    stage = Stage.of(bars, costs, limits, instruments=None, trading=account)
    run, besides = stage.run(targets), stage.besides()
    outlook = stage.outlook()
    assert stage.terms is not None
    assert outlook is not None
    venue_loop.play_careful(run, stage.terms, besides, outlook)

    assert {"collar", "shortfall"} <= set(machine.refusals["guard"])
    assert [len(machine.fills), len(machine.refusals), 0] == run.account.counts[:3].tolist()
    assert machine.equity.tolist() == run.equity.tolist()
