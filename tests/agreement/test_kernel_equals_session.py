"""The kernel and the session are two tellings of one story: the same fills, refusals and equity on the same bars.

The session is driven by a policy that plays given exposures; the kernel is handed the same. Markets are hostile on purpose: gaps, volumes
that cap fills, cash that runs short, crashes that trip the drawdown and the daily loss.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, PerpetualSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.result import Frames, Result, first_difference
from desk.errors import BookMismatch
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.risk.guards import GUARDS
from desk.session import SessionResult
from desk.strategy.policy import View
from tasks.backtest import agreement, in_kernel_words

pytestmark = pytest.mark.timeout(120)  # whoever comes first may have to compile

SEEDS = range(40)
# All twenty, and hundreds more, are drawn by tests/proofs/kernel_agreement.py.
MORE_SEEDS = range(6)
REAL_WINDOWS = 4
WINDOW_BARS = 1500
LOOSE = ("max_position_weight", "max_gross_weight")


@dataclass(frozen=True)
class PlaysExposures:
    """A policy that already knows what it wants."""

    wanted: dict[tuple[str, datetime], float]
    warmup_bars: int = 1

    def target(self, view: View) -> float:
        return self.wanted[view.symbol, view.closed_at]


@dataclass(frozen=True)
class Case:
    """One market and what is done in it."""

    bars: pl.DataFrame
    panel: Panel
    exposures: NDArray[np.float64]
    instruments: dict[str, Instrument]
    trading: TradingSettings
    risk: RiskSettings
    since: datetime | None = None


def by_session(case: Case) -> tuple[SessionResult, Result]:
    """The session's story, and the same in the kernel's words."""
    closes = case.panel.closed_at.astype("datetime64[us]").astype(datetime)
    wanted = {
        (symbol, moment.replace(tzinfo=UTC)): float(case.exposures[row, column])
        for row, moment in enumerate(closes)
        for column, symbol in enumerate(case.panel.symbols)
    }
    setup = Setup("agreement", "settings", case.instruments, PlaysExposures(wanted), case.trading, case.risk)
    told = backtest(StoredFeed(case.bars, start=case.since), setup)
    return told, in_kernel_words(told, case.instruments)


def by_kernel(case: Case) -> Result:
    return simulate(case.panel, case.exposures, case.trading.costs, case.risk, instruments=case.instruments, trading=case.trading)


def exposure_paths(random: np.random.Generator, shape: tuple[int, int], share_nan: float) -> NDArray[np.float64]:
    """Exposures that stay for a while and then jump: flat, full, between, sometimes short; sometimes no opinion."""
    choices = np.array([0.0, 0.0, 1.0, 1.0, 0.5, -0.5])
    jumps = random.random(shape) < 0.2
    fresh = np.where(random.random(shape) < 0.7, random.choice(choices, shape), random.uniform(-1, 1, shape))
    paths = np.empty(shape)
    current = np.zeros(shape[1])
    for row in range(shape[0]):
        current = np.where(jumps[row], fresh[row], current)
        paths[row] = current
    paths[random.random(shape) < share_nan] = np.nan
    return paths


def synthetic(seed: int) -> Case:
    """A market out of one seed: sizes, costs, limits and troubles are all drawn from it."""
    random = np.random.default_rng(seed)
    n_rows, n_assets = 300, int(random.integers(1, 5))
    start = np.datetime64("2024-01-01T00:00", "us")
    times = start + np.arange(n_rows) * np.timedelta64(1, "h")
    symbols = tuple(f"{name}/USDT" for name in ("ADA", "BTC", "ETH", "XRP"))[:n_assets]
    steps = random.standard_t(3, (n_rows, n_assets)) * random.choice([0.004, 0.03])
    close = random.choice([0.02, 1.5, 60_000.0], n_assets) * np.exp(np.cumsum(steps, axis=0))
    open_ = close * np.exp(-steps * random.uniform(0, 1, steps.shape))
    # Some bars trade next to nothing, some nothing at all.
    volume = random.lognormal(random.choice([2.0, 12.0]), 2.0, steps.shape) / close * random.choice([1.0, 1.0, 1e-3, 0.0], steps.shape)
    absent = random.random(steps.shape) < random.choice([0.0, 0.1])
    rows = [
        (symbol, "1h", times[row].item(), open_[row, column], close[row, column], volume[row, column])
        for column, symbol in enumerate(symbols)
        for row in range(n_rows)
        if not absent[row, column]
    ]
    bars = pl.DataFrame(rows, schema=["symbol", "timeframe", "open_time", "open", "close", "volume"], orient="row").with_columns(
        pl.col("open_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        high=pl.max_horizontal("open", "close"),
        low=pl.min_horizontal("open", "close"),
    )
    panel = Panel.from_frame(bars.sample(fraction=1.0, shuffle=True, seed=seed))
    grids = {0.02: ("0.00001", "1", "5"), 1.5: ("0.0001", "0.1", "5"), 60_000.0: ("0.01", "0.00001", "10")}
    instruments = {}
    for column, symbol in enumerate(symbols):
        nearest = min(grids, key=lambda level, first=close[0, column]: abs(np.log(level / first)))
        tick, lot, least = map(Decimal, grids[nearest])
        instruments[symbol] = Instrument(symbol, symbol.split("/")[0], "USDT", tick, lot, least)
    costs = CostSettings(
        fee_rate=float(random.choice([0.0, 0.00075, 0.001])),
        half_spread_bps=float(random.choice([0.0, 1.0, 7.0])),
        impact_bps=float(random.choice([0.0, 10.0, 80.0])),
        participation_cap=float(random.choice([0.02, 0.1, 1.0])),
    )
    trading = TradingSettings(
        initial_cash=Decimal(str(random.choice(["997.13", "100000", "2500000"]))),
        gross_weight=float(random.choice([0.95, 1.0, 1.6])),
        rebalance_band=float(random.choice([0.0, 0.02])),
        costs=costs,
    )
    risk = RiskSettings(
        max_position_weight=float(random.choice([0.3, 0.5, 2.0])),
        max_gross_weight=float(random.choice([0.7, 1.0, 2.0])),
        max_drawdown=float(random.choice([0.05, 0.35, 1.0])),
        max_daily_loss=float(random.choice([0.02, 0.15, 1.0])),
    )
    # In every fourth market only, or tight limits would hide what loose ones let happen.
    if seed % 4 == 3:
        tight = {"max_orders_per_minute": 1, "max_concentration": 0.25, "max_net_weight": 0.4}
        risk = risk.model_copy(update=dict.fromkeys(LOOSE, 2.0) | {"max_drawdown": 1.0, "max_daily_loss": 1.0} | dict([list(tight.items())[seed // 4 % 3]]))
    return Case(bars, panel, exposure_paths(random, panel.close.shape, share_nan=0.05), instruments, trading, risk)


def more(seed: int, case: Case, *, contracts: bool) -> Case:
    """The same market with wicks, and everything a venue may do besides: stops, gains, orders that go on, a collar; coins, or contracts on margin."""
    random = np.random.default_rng(seed + 1_000)
    wicks = [pl.Series(np.exp(random.exponential(0.004, len(case.bars)))) for _ in range(2)]
    bars = case.bars.with_columns(high=pl.col("high") * wicks[0], low=pl.col("low") / wicks[1])
    trading = case.trading.model_copy(
        update={
            "protective_stop": (stop := float(random.choice([0.0, 0.01, 0.04, 0.2]))),
            "trailing_stop": float(random.choice([0.02, 0.1] if stop == 0 else [0.0, 0.02, 0.1])),
            "take_profit": float(random.choice([0.0, 0.01, 0.05])),
            "carry_partials": bool(random.integers(2)),
            "costs": case.trading.costs.model_copy(update={"maker_share": float(random.choice([0.2, 1.0]))}),
        }
    )
    risk = case.risk.model_copy(update={"price_collar": float(random.choice([0.0, 0.02, 0.1]))})
    exposures, instruments = case.exposures, case.instruments
    if contracts:
        bars = bars.with_columns(pl.col("symbol") + ":USDT")
        instruments = {f"{symbol}:USDT": replace(each, symbol=f"{symbol}:USDT") for symbol, each in instruments.items()}
        margin = PerpetualSettings(
            leverage=float(random.choice([1.0, 3.0, 20.0])),
            maintenance=float(random.choice([0.005, 0.3])),
            funding_rate=float(random.choice([0.0, 0.0001, 0.003])),
        )
        trading = trading.model_copy(update={"perpetual": margin, "gross_weight": float(random.choice([0.95, 4.0]))})
        # Every other account is in danger: nothing stops it before the venue does.
        if seed % 2:
            margin = margin.model_copy(update={"leverage": 20.0, "maintenance": float(random.choice([0.2, 0.5]))})
            costs = trading.costs.model_copy(update={"participation_cap": 1.0})
            unguarded = dict.fromkeys(("protective_stop", "trailing_stop", "take_profit"), 0.0)
            trading = trading.model_copy(update={**unguarded, "perpetual": margin, "gross_weight": 4.0, "costs": costs})
            risk = risk.model_copy(update=dict.fromkeys(LOOSE, 5.0) | {"max_drawdown": 1.0, "max_daily_loss": 1.0})
    return Case(bars, Panel.from_frame(bars), exposures, instruments, trading, risk)


def careful(seed: int, case: Case) -> Case:
    """The same market under a limit on expected shortfall, begun with nothing known or somewhere inside with what a session has seen by then."""
    random = np.random.default_rng(seed + 2_000)
    limits = {
        "max_expected_shortfall": float(random.choice([0.003, 0.01, 0.03, 0.1])),
        "shortfall_level": float(random.choice([0.9, 0.975])),
        "covariance_bars": int(random.choice([10, 40])),
    }
    risk = case.risk.model_copy(update=dict.fromkeys(LOOSE, 5.0) | {"max_drawdown": 1.0, "max_daily_loss": 1.0, **limits})
    first = int(random.choice([0, 20, 100]))
    if first == 0:
        return replace(case, risk=risk)
    since = case.panel.times[first].astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC)
    known = Setup("agreement", "settings", case.instruments, PlaysExposures({}), case.trading, risk).warmup_bars
    return replace(case, risk=risk, panel=case.panel.since(since, known), exposures=case.exposures[first:], since=since)


@pytest.mark.parametrize("kind", ["plain", "coins", "contracts"])
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_what_a_book_may_lose_in_a_bar_is_limited_as_the_session_limits_it(seed: int, kind: str) -> None:
    """Alone, and among stops, margin and carried orders; from the first bar of a market and from one that has a past."""
    market = synthetic(seed)
    case = careful(seed, market if kind == "plain" else more(seed, market, contracts=kind == "contracts"))
    _, told = by_session(case)

    played = by_kernel(case)

    assert first_difference(told, played) is None


def test_the_limit_on_losses_bites_in_these_markets_and_lets_orders_through() -> None:
    """Refused as too much, refused as not known, and granted after a past was seen: each in several markets."""
    biting, begun, granted = 0, 0, 0
    for seed in MORE_SEEDS:
        case = careful(seed, synthetic(seed))
        played = by_kernel(case)
        refused = played.refusals.filter(pl.col("guard") == "shortfall")["time"].dt.replace_time_zone(None).to_numpy()
        known = case.panel.closed_at[case.risk.covariance_bars]
        biting += bool((refused > known).any())
        begun += case.since is None and bool((refused <= known).any())
        granted += case.since is not None and len(played.fills) > 0

    assert min(biting, begun, granted) > 0


TIERS = [{"volume": 1e6, "taker": 0.0009, "maker": 0.0007}, {"volume": 5e6, "taker": 0.0003}]


def at_volume(case: Case, volume: float) -> Case:
    """The same market for an account that traded so much in 30 days, at a venue with tiers."""
    told = {**case.trading.costs.model_dump(), "fee_rate": 0.001, "maker_share": 0.5, "fee_tiers": TIERS, "volume_30d": volume}
    return replace(case, trading=case.trading.model_copy(update={"costs": CostSettings.model_validate(told)}))


@pytest.mark.parametrize("kind", ["plain", "coins", "contracts"])
@pytest.mark.parametrize(("volume", "taker", "maker"), [(1e6, "0.0009", "0.0007"), (5e6, "0.0003", "0.00015")])
def test_the_tier_that_the_account_earned_is_charged_alike(volume: float, taker: str, maker: str, kind: str) -> None:
    """Gains rest in this market, and contracts are closed by force: each pays its own rate of the tier, and nothing pays any other."""
    market = synthetic(9)
    case = at_volume(market if kind == "plain" else more(9, market, contracts=kind == "contracts"), volume)
    told, in_words = by_session(case)

    played = by_kernel(case)

    assert first_difference(in_words, played) is None
    assert pytest.approx(in_words.fills["fee"].to_list(), rel=1e-12) == played.fills["fee"].to_list()
    paid = {(fill.fee / (fill.quantity * fill.price)).normalize() for fill in told.fills if fill.quantity}
    besides = {"plain": set(), "coins": {Decimal(maker)}, "contracts": {Decimal(repr(float(taker) + case.trading.perpetual.liquidation_fee))}}
    assert {Decimal(taker), *besides[kind]} == paid
    assert f"{float(taker):g} of notional" in played.assumptions["fee"]


@pytest.mark.parametrize("contracts", [False, True])
@pytest.mark.parametrize("seed", MORE_SEEDS)
@pytest.mark.timeout(120)
def test_stops_gains_margin_and_carried_orders_are_the_sessions_too(seed: int, contracts: bool) -> None:
    case = more(seed, synthetic(seed), contracts=contracts)
    _, told = by_session(case)

    played = by_kernel(case)

    assert first_difference(told, played) is None


@pytest.mark.timeout(120)
def test_everything_a_venue_does_besides_happens_in_these_markets() -> None:
    """Stops, gains, forced closes, funding, stops too small to be placed, and the collar: agreement where nothing happens would prove nothing."""
    seen = Counter[str]()
    for seed in MORE_SEEDS:
        for contracts in (False, True):
            played = by_kernel(more(seed, synthetic(seed), contracts=contracts))
            seen.update(played.refusals["guard"].to_list())
            seen.update(name for name, paid in played.costs.items() if paid)
            seen["inside a bar"] += len(played.fills) - len(played.fills.unique(["time", "symbol"]))

    assert {"collar", "protection", "funding", "liquidation", "inside a bar"} <= {name for name, count in seen.items() if count}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_kernel_tells_the_same_story_as_the_session(seed: int) -> None:
    """Every fill in (bar, symbol, side, lots, ticks), every refusal in (close, symbol, guard), equity to 1e-12 at every close."""
    case = synthetic(seed)
    _, told = by_session(case)

    played = by_kernel(case)

    assert first_difference(told, played) is None


def test_a_kernel_that_accounts_otherwise_stops_the_backtest() -> None:
    """What a pipeline run asks of every backtest: one fill of another size, or equity off by more than rounding, and nothing is believed."""
    case = synthetic(0)
    session, _ = by_session(case)
    played = by_kernel(case)
    richer = replace(played, equity=played.equity * (1 + 1e-9))
    smaller = replace(played, detail=Frames(played.fills.with_columns(pl.col("lots") - 1), played.refusals, played.positions))

    assert agreement(session, played, case.instruments).startswith(f"{len(session.fills)} fills equal")
    for other, said in ((richer, "equity differs"), (smaller, "fill 0 differs")):
        with pytest.raises(BookMismatch, match=said):
            agreement(session, other, case.instruments)


def test_the_markets_of_this_test_are_hostile_enough() -> None:
    """Agreement on quiet markets would prove little: caps, cash shortage, every guard and shorts must all occur."""
    seen = Counter[str]()
    for seed in SEEDS:
        case = synthetic(seed)
        played = by_kernel(case)
        seen.update(played.refusals["guard"].to_list())
        seen["gaps"] += int(np.isnan(case.panel.close).any())
        seen["shorts"] += int((played.positions < 0).any())
        seen["fills"] += len(played.fills)
        seen["caps"] += at_the_cap(case, played)
        seen["short of cash"] += int(cut_by_cash(case, played))

    assert {name for name in seen if seen[name] > 0} == {*GUARDS[1:], "gaps", "shorts", "fills", "caps", "short of cash"}
    assert seen["fills"] > 1000


def at_the_cap(case: Case, played: Result) -> int:
    """Fills that took all that the bar's volume allowed."""
    joined = played.fills.join(case.bars.select("symbol", pl.col("open_time").alias("time"), "volume"), on=["symbol", "time"])
    lots = pl.Series([float(case.instruments[symbol].lot) for symbol in joined["symbol"]], dtype=pl.Float64)
    return int((joined["lots"] == (joined["volume"] * case.trading.costs.participation_cap / lots + 1e-9).floor().cast(pl.Int64)).sum())


def cut_by_cash(case: Case, played: Result) -> bool:
    """Whether more cash would have bought more in the same market: the same weights, no longer fully funded."""
    spent = played.equity - np.nansum(played.positions * last_known(case.panel.close), axis=1)
    return bool((spent < 0.001 * played.equity).any() and case.trading.gross_weight > 1)


def last_known(close: NDArray[np.float64]) -> NDArray[np.float64]:
    filled = pl.DataFrame(close).fill_nan(None).fill_null(strategy="forward").to_numpy()
    return np.nan_to_num(filled)


@pytest.mark.data
@pytest.mark.timeout(120)
@pytest.mark.slow
@pytest.mark.parametrize("window", range(REAL_WINDOWS))
def test_kernel_and_session_agree_on_real_candles(real_data: Path, window: int) -> None:
    """Fifteen coins with their real gaps, from four different years."""
    case = real(real_data, window)
    _, told = by_session(case)

    played = by_kernel(case)

    assert first_difference(told, played) is None
    assert len(played.fills) > 100


@pytest.mark.data
@pytest.mark.timeout(120)
@pytest.mark.slow
@pytest.mark.parametrize("contracts", [False, True])
def test_kernel_and_session_agree_on_real_candles_with_stops_and_margin(real_data: Path, contracts: bool) -> None:
    case = more(2, real(real_data, 2), contracts=contracts)
    _, told = by_session(case)

    played = by_kernel(case)

    assert first_difference(told, played) is None
    assert len(played.fills) > 100


def real(folder: Path, window: int) -> Case:
    """Six weeks of hours out of the stored years, with exposures drawn at random."""
    candles = pl.read_parquet(folder / "candles" / "binance_spot_1h_15coins_2017_2022-10.parquet")
    bars = candles.with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))).sort("symbol", "open_time")
    times = bars["open_time"].unique().sort()
    first = (window + 1) * len(times) // (REAL_WINDOWS + 1)
    bars = bars.filter(pl.col("open_time").is_between(times[first], times[first + WINDOW_BARS], closed="left"))
    panel = Panel.from_frame(bars)
    instruments = {symbol: Instrument(symbol, symbol.split("/")[0], "USDT", Decimal("0.0001"), Decimal("0.01"), Decimal(5)) for symbol in panel.symbols}
    trading = TradingSettings(rebalance_band=0.005)
    exposures = exposure_paths(np.random.default_rng(window), panel.close.shape, share_nan=0.02)
    return Case(bars, panel, exposures, instruments, trading, RiskSettings(max_drawdown=0.6))
