"""What a result says of its costs and of what it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Floats, Panel
from desk.backtest.result import Result
from desk.costs import trade_cost_fraction

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

Market = Callable[[int, int, int], Panel]
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=2.0, impact_bps=15.0, participation_cap=1.0)


def wishes(bars: Panel) -> Floats:
    return np.repeat(np.random.default_rng(4).uniform(0, 1, (len(bars.times) // 5, len(bars.symbols))), 5, axis=0)


def played(bars: Panel, costs: CostSettings = COSTS) -> Result:
    return simulate(bars, wishes(bars), costs, RiskSettings())


def test_the_costs_by_kind_are_what_free_trading_would_have_saved(market: Market) -> None:
    """In prices: what the fills paid above the open (below it for sells) is spread and impact, but for rounding to a grid of 1e-8."""
    bars = market(4, 100, 2)
    result = played(bars)
    rows = np.searchsorted(bars.times, result.fills["time"].dt.replace_time_zone(None).to_numpy())
    opens = bars.open[rows, [bars.symbols.index(symbol) for symbol in result.fills["symbol"]]]
    signs = np.where(result.fills["side"].to_numpy() == "buy", 1, -1)
    given_up = float((signs * (result.fills["price"].to_numpy() - opens) * result.fills["quantity"].to_numpy()).sum())

    assert pytest.approx(given_up, rel=1e-5) == result.costs["spread"] + result.costs["impact"]
    assert pytest.approx(result.fills["fee"].sum(), rel=1e-12) == result.costs["fees"] == pytest.approx(result.measures["fees"])
    assert (0.0, 0.0) == (result.costs["funding"], result.costs["liquidation"])


def test_each_hash_follows_what_it_is_the_hash_of(market: Market) -> None:
    bars = market(4, 100, 2)
    plain = played(bars).hashes
    other_bars = played(replace(bars, volume=bars.volume * 2)).hashes
    other_targets = simulate(bars, wishes(bars) * 0.5, COSTS, RiskSettings()).hashes
    other_settings = played(bars, COSTS.model_copy(update={"fee_rate": 0.002})).hashes

    assert played(bars).hashes == plain
    assert ["bars"] == [name for name in plain if plain[name] != other_bars[name]]
    assert ["targets"] == [name for name in plain if plain[name] != other_targets[name]]
    assert ["settings"] == [name for name in plain if plain[name] != other_settings[name]]


def test_costs_and_hashes_survive_the_bundle(market: Market, tmp_path: Path) -> None:
    result = simulate(market(4, 100, 2), wishes(market(4, 100, 2)), COSTS, RiskSettings(), trading=TradingSettings(protective_stop=0.02))

    result.save(tmp_path)
    loaded = Result.load(tmp_path)

    assert (result.costs, result.hashes) == (loaded.costs, loaded.hashes)


@settings(max_examples=100)
@given(parts=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=6), half_spread=st.floats(0, 50), impact=st.floats(0, 500))
def test_trades_that_share_a_bar_cost_as_much_as_one(parts: list[float], half_spread: float, impact: float) -> None:
    """Charged on the bar's total participation, a split saves nothing; and cost per size rises with size."""
    total = sum(parts) / 6
    whole = total * trade_cost_fraction(half_spread, impact, total)
    split = sum(part / 6 * trade_cost_fraction(half_spread, impact, total) for part in parts)
    sizes = np.linspace(0.01, 1.0, 20)
    paid = sizes * trade_cost_fraction(half_spread, impact, sizes)

    assert split == pytest.approx(whole, rel=1e-9, abs=1e-18)
    assert (np.diff(paid) >= 0).all()
    assert (np.diff(paid, 2) >= -1e-12).all()
