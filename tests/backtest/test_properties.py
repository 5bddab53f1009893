"""What no backtest may violate, asked of the kernel's own results in both loops: the plain one, and the one that knows stops, gains and contracts.

What is asked of the session's venue follows: tests/agreement holds the two equal fill for fill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.risk import RiskSettings
from configs.trading import CostSettings, PerpetualSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.laid import Laid
from desk.backtest.panel import Floats, Panel
from desk.backtest.result import Result, first_difference
from desk.backtest.venue_loop import FORCED, GAIN
from desk.instruments import Instrument

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

Market = Callable[[int, int, int], Panel]
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=2.0, impact_bps=15.0, participation_cap=0.1, maker_share=0.2)
LOOSE = RiskSettings(max_position_weight=100, max_gross_weight=100, max_net_weight=100, max_drawdown=1, max_daily_loss=1)
SIDES = ("open", "high", "low", "close", "volume")
KINDS = ("plain", "stops", "contracts", "doomed")
ROWS = 80

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25)


@dataclass(frozen=True)
class World:
    """A market, and everything that is done in it."""

    bars: Panel
    targets: Floats
    costs: CostSettings
    limits: RiskSettings
    trading: TradingSettings
    instruments: dict[str, Instrument]
    funding: Floats | None = None

    @property
    def result(self) -> Result:
        return simulate(self.bars, self.targets, self.costs, self.limits, instruments=self.instruments, trading=self.trading, funding=self.funding)


def grid(symbol: str) -> Instrument:
    return Instrument(symbol, symbol.partition("/")[0], "USDT", Decimal("0.0001"), Decimal("0.001"), Decimal(5))


def world(market: Market, kind: str, seed: int, n_assets: int = 3) -> World:
    """Thin bars with wicks and gaps, wishes that change now and then; `kind` says what the venue does besides. Those of `doomed` are closed by force."""
    random, bars = np.random.default_rng(seed), market(seed, ROWS, n_assets)
    wicks = np.exp(random.exponential(0.006, (2, *bars.close.shape)))
    missing = random.random(bars.close.shape) < random.choice([0.0, 0.1])
    columns = {"open": bars.open, "high": bars.high * wicks[0], "low": bars.low / wicks[1], "close": bars.close, "volume": bars.volume}
    symbols = tuple(f"{symbol}:USDT" for symbol in bars.symbols) if kind in ("contracts", "doomed") else bars.symbols
    targets = np.repeat(random.uniform(-1, 1, (ROWS // 5, n_assets)), 5, axis=0)
    targets[random.random(targets.shape) < 0.1] = np.nan
    trading, funding, limits = TradingSettings(gross_weight=float(random.choice([0.9, 2.0]))), None, RiskSettings(max_gross_weight=3.0)
    if kind in ("stops", "contracts"):
        trading = trading.model_copy(update={"protective_stop": 0.02, "take_profit": 0.01, "carry_partials": bool(random.integers(2))})
    if kind == "doomed":
        # Nothing stops it before the venue does.
        margin, limits = PerpetualSettings(leverage=20.0, maintenance=0.4), LOOSE
        trading = trading.model_copy(update={"gross_weight": 4.0, "perpetual": margin})
    if kind in ("contracts", "doomed"):
        funding = np.where(random.random(targets.shape) < 0.3, random.normal(0, 0.003, targets.shape), 0.0)
    panel = replace(bars, symbols=symbols, **{name: np.where(missing, np.nan, column) for name, column in columns.items()})
    return World(panel, targets, COSTS, limits, trading, {symbol: grid(symbol) for symbol in symbols}, funding)


def details(result: Result) -> Laid:
    assert isinstance(result.detail, Laid)
    return result.detail


def kinds_of(result: Result) -> list[int]:
    """How each fill came about."""
    besides = details(result).besides
    return [0] * len(result.fills) if besides is None else besides.kinds[: len(result.fills)].tolist()


def column_of(case: World, symbols: pl.Series) -> list[int]:
    return [case.bars.symbols.index(symbol) for symbol in symbols]


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds)
def test_cash_is_conserved(market: Market, kind: str, seed: int) -> None:
    """The cash at the start, less every buy, fee and funding payment, plus every sale, is the cash at the end: the two floats are the Decimal to 1e-20."""
    case = world(market, kind, seed)
    result = case.result
    forced = Decimal(repr(COSTS.fee_rate + case.trading.perpetual.liquidation_fee))
    rates = {GAIN: Decimal(repr(COSTS.fee_rate * COSTS.maker_share)), FORCED: forced}

    cash = case.trading.initial_cash - Decimal(round(result.costs["funding"] * 1e8)).scaleb(-8)
    for (side, lots, ticks), made in zip(result.fills.select("side", "lots", "ticks").rows(), kinds_of(result), strict=True):
        notional = lots * ticks * Decimal("0.001") * Decimal("0.0001")
        cash += (notional if side == "sell" else -notional) - notional * rates.get(made, Decimal("0.001"))

    high, low = details(result).run.account.cash
    assert abs(Decimal(high) + Decimal(low) - cash) < Decimal("1e-20")


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds)
def test_equity_is_cash_and_what_is_held(market: Market, kind: str, seed: int) -> None:
    """At the last close, positions recomputed from the fills; a symbol without a bar there counts at the last one it had."""
    case = world(market, kind, seed)
    result = case.result

    signed = result.fills.select(pl.when(pl.col("side") == "buy").then(pl.col("lots")).otherwise(-pl.col("lots")))["lots"].to_numpy()
    held = np.zeros(len(case.bars.symbols), dtype=np.int64)
    np.add.at(held, column_of(case, result.fills["symbol"]), signed)

    prices = [closes[np.isfinite(closes)][-1] for closes in case.bars.close.T]
    worth = sum(Decimal(int(lots)) * Decimal("0.001") * Decimal(price) for lots, price in zip(held, prices, strict=True))
    cash = sum(map(Decimal, details(result).run.account.cash.tolist()))
    assert float(cash + worth) == pytest.approx(result.equity[-1], rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("kind", ["contracts", "doomed"])
@quick
@given(seed=seeds)
def test_funding_is_each_rate_times_what_was_held_at_its_close(market: Market, kind: str, seed: int) -> None:
    """What was closed by force in that very bar had paid before."""
    case = world(market, kind, seed)
    result = case.result
    assert case.funding is not None

    before_force = [made != FORCED for made in kinds_of(result)]
    kept = result.fills.filter(pl.Series(before_force, dtype=pl.Boolean))
    opens = case.bars.times.astype("datetime64[us]")
    ends = {moment: row for row, moment in enumerate(case.bars.closed_at)}
    held = np.zeros((ROWS + 1, len(case.bars.symbols)))
    for fills, row_of in ((kept, lambda time: int(np.searchsorted(opens, time))), (result.fills.filter(~pl.Series(before_force)), lambda time: ends[time] + 1)):
        signed = fills.with_columns(pl.when(pl.col("side") == "buy").then(pl.col("quantity")).otherwise(-pl.col("quantity")))["quantity"]
        for time, column, quantity in zip(fills["time"].dt.replace_time_zone(None).to_numpy(), column_of(case, fills["symbol"]), signed, strict=True):
            held[row_of(time) :, column] += quantity

    owed = np.nansum(held[:ROWS] * case.bars.close * case.funding)
    assert owed == pytest.approx(result.costs["funding"], abs=1e-8 * case.bars.close.size)


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds)
def test_all_fills_of_a_bar_together_take_no_more_than_its_share(market: Market, kind: str, seed: int) -> None:
    """Orders, stops and gains alike. A venue that closes by force asks nobody for volume: docs/assumptions.md."""
    case = world(market, kind, seed)
    # An order and a stop in one bar want more than one of these bars gives.
    thin = replace(case, bars=replace(case.bars, volume=case.bars.volume / 20))
    result = thin.result

    asked = result.fills.filter(pl.Series([made != FORCED for made in kinds_of(result)], dtype=pl.Boolean))
    taken = asked.group_by("time", "symbol").agg(pl.col("quantity").sum())
    row = np.searchsorted(case.bars.times, taken["time"].dt.replace_time_zone(None).to_numpy())
    allowed = COSTS.participation_cap * thin.bars.volume[row, column_of(case, taken["symbol"])]
    assert (taken["quantity"].to_numpy() <= allowed * (1 + 1e-9)).all()


def test_these_worlds_have_what_they_are_for(market: Market) -> None:
    """A property of nothing proves nothing: fills of every kind, two in one bar, fills at the cap, gaps."""
    seen: dict[str, int] = dict.fromkeys(("two in a bar", "gaps"), 0)
    made = set()
    for kind in KINDS:
        for seed in range(12):
            case = world(market, kind, seed)
            result = case.result
            made |= set(kinds_of(result))
            seen["two in a bar"] += len(result.fills) - len(result.fills.unique(["time", "symbol"]))
            seen["gaps"] += int(np.isnan(case.bars.close).any())

    assert {0, 1, 2, 3} == made
    assert min(seen.values()) > 5


def price_paid(market: Market, kind: str, seed: int, size: float, costs: CostSettings) -> float:
    """What buying `size` (base) once costs besides its price at the open, from the account's own equity (quote)."""
    bars = market(seed, 6, 1)
    symbol = f"{bars.symbols[0]}:USDT" if kind == "contracts" else bars.symbols[0]
    fine = Instrument(symbol, "ADA", "USDT", Decimal("1e-9"), Decimal("0.001"), Decimal(0))
    stop = 0.9 if kind == "stops" else 0.0
    account = TradingSettings(fixed_units=1000.0, initial_cash=Decimal(10_000_000), rebalance_band=0, protective_stop=stop)
    targets = np.full((6, 1), np.nan)
    targets[0] = size / 1000.0
    result = simulate(replace(bars, symbols=(symbol,), volume=np.full((6, 1), 1200.0)), targets, costs, LOOSE, instruments={symbol: fine}, trading=account)
    assert [size] == pytest.approx(result.fills["quantity"].to_list(), rel=1e-9)
    return float(10_000_000 + size * (bars.close[1, 0] - bars.open[1, 0]) - result.equity[1])


@pytest.mark.parametrize("kind", ["plain", "stops", "contracts"])
@quick
@given(
    seed=seeds,
    sizes=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    weight=st.integers(0, 10),
    spread=st.floats(0, 50),
    impact=st.floats(0, 100),
    fee=st.floats(0, 0.01),
)
def test_a_larger_trade_costs_more_and_more_for_each_unit(
    market: Market, kind: str, seed: int, sizes: tuple[int, int], weight: int, spread: float, impact: float, fee: float
) -> None:
    """Monotone and convex in size. Ticks of 1e-9 quote, on 900 units at most, blur what is compared by 1e-6."""
    costs = CostSettings(fee_rate=fee, half_spread_bps=spread, impact_bps=impact, participation_cap=1.0)
    small, large = sorted(float(size) for size in sizes)
    between = (small * weight + large * (10 - weight)) / 10

    cheap, middle, dear = (price_paid(market, kind, seed, size, costs) for size in (small, between, large))

    assert -1e-6 <= cheap <= middle + 1e-6 <= dear + 2e-6
    assert middle <= (cheap * weight + dear * (10 - weight)) / 10 + 2e-6


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds)
def test_permuting_the_assets_permutes_the_results(market: Market, kind: str, seed: int) -> None:
    case = world(market, kind, seed, n_assets=4)
    order = np.random.default_rng(seed).permutation(4)
    columns = {name: getattr(case.bars, name)[:, order] for name in SIDES}
    bars = replace(case.bars, symbols=tuple(case.bars.symbols[column] for column in order), **columns)
    shuffled = replace(case, bars=bars, targets=case.targets[:, order], funding=None if case.funding is None else case.funding[:, order])

    plain, permuted = case.result, shuffled.result

    assert first_difference(plain, permuted) is None
    assert plain.positions[:, order].tolist() == permuted.positions.tolist()
    assert plain.costs == pytest.approx(permuted.costs, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds, row=st.integers(1, ROWS - 2))
def test_what_comes_later_changes_nothing_that_happened(market: Market, kind: str, seed: int, row: int) -> None:
    """Bars, wishes and funding from `row` on are replaced: everything before stays as it was."""
    case, other = world(market, kind, seed), world(market, kind, seed + 1)
    changed = {name: np.concatenate([getattr(case.bars, name)[:row], getattr(other.bars, name)[row:]]) for name in SIDES}
    funding = None if case.funding is None or other.funding is None else np.concatenate([case.funding[:row], other.funding[row:]])
    altered = replace(case, bars=replace(case.bars, **changed), targets=np.concatenate([case.targets[:row], -case.targets[row:]]), funding=funding)

    before, after = case.result, altered.result

    assert before.equity[:row].tolist() == after.equity[:row].tolist()
    past = [made[made["row"] < row] for made in (details(result).run.account.fills[: len(result.fills)] for result in (before, after))]
    assert past[0].tolist() == past[1].tolist()


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(seed=seeds)
def test_wishes_of_one_bar_earlier_are_another_backtest(market: Market, kind: str, seed: int) -> None:
    """Shifting a signal into the future cannot go unnoticed: that it is found out is shown in test_lookahead."""
    case = world(market, kind, seed)
    early = replace(case, targets=np.concatenate([case.targets[1:], np.full((1, 3), np.nan)]))

    assert first_difference(case.result, early.result) is not None
