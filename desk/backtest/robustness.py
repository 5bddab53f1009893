"""Would it have held? One backtest again: at other sizes, later, at twice the cost, in other orders of its own days, and where there is nothing to know.

Frames hold fractions for returns and drawdowns, quote for equity, annual Sharpe ratios. What is played again are the same exposures: no model is
asked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk import measures
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.result import Result
from desk.backtest.skipping import sweep
from desk.backtest.statistics import optimal_block_bars, stationary_bootstrap
from desk.backtest.worlds import noise, panels
from desk.instruments import Instrument

Floats = NDArray[np.float64]

# The plateau: factors of size, and delays in bars.
SIZES = (0.25, 0.5, 0.75, 1.0)
DELAYS = (0, 1, 2, 3, 4)
# A neighbour stands on the plateau when its Sharpe ratio falls short of the best by at most this share of it.
NEAR = 0.2
PERCENTILES = (5, 25, 50, 75, 95)
# Points of the resampled curves that are kept: more are not visible.
POINTS = 240
# Fewer trades than this make no distribution.
FEWEST_TRADES = 10
# Markets drawn of each world: as many as fit into so many bars of one symbol, within bounds.
MOST_CELLS = 2_000_000
FEWEST_MARKETS, MOST_MARKETS = 4, 40


@dataclass(frozen=True)
class Case:
    """Everything a simulation needs, to be played and played again otherwise; `targets` are exposures [time, asset], NaN where none was set.

    `funding`: rates [time, asset] that contracts paid, where they are known.
    """

    bars: Panel
    targets: Floats
    costs: CostSettings
    limits: RiskSettings
    trading: TradingSettings
    instruments: Mapping[str, Instrument] | None = None
    funding: Floats | None = None

    @cached_property
    def result(self) -> Result:
        """The kernel's account of it."""
        return simulate(self.bars, self.targets, self.costs, self.limits, instruments=self.instruments, trading=self.trading, funding=self.funding)

    def late(self, bars: int) -> Case:
        """The same decisions, carried out so many bars later."""
        return replace(self, targets=delayed(self.targets, bars))

    def swept(self, targets_of: Callable[..., Floats], grid: Mapping[str, Sequence[float]]) -> pl.DataFrame:
        """Other exposures at every point of a grid, as `desk.backtest.skipping.sweep` tells them."""
        if self.funding is None:
            return sweep(self.bars, targets_of, grid, self.costs, self.limits, instruments=self.instruments, trading=self.trading)
        points = list(product(*grid.values()))
        played = [replace(self, targets=targets_of(self.bars, **dict(zip(grid, point, strict=True)))).result for point in points]
        rows = [(*point, float(each.equity[-1]), each.measures["sharpe"], int(each.measures["fills"])) for point, each in zip(points, played, strict=True)]
        return pl.DataFrame(rows, schema=[*grid, "equity", "sharpe", "fills"], orient="row")

    def dearer(self, factor: float) -> Case:
        """The same decisions, each cost times `factor`; funding that was received in all is no cost, and stays."""
        costs, margin, rates = self.costs, self.trading.perpetual, self.funding
        charged = {name: getattr(costs, name) * factor for name in ("fee_rate", "half_spread_bps", "impact_bps", "borrow_rate")}
        tiers = tuple(
            tier.model_copy(update={"taker": tier.taker * factor, "maker": None if tier.maker is None else tier.maker * factor}) for tier in costs.fee_tiers
        )
        held = factor if self.result.costs["funding"] > 0 else 1.0
        forced = {"liquidation_fee": margin.liquidation_fee * factor, "funding_rate": margin.funding_rate * held}
        return replace(
            self,
            costs=costs.model_copy(update={**charged, "fee_tiers": tiers}),
            trading=self.trading.model_copy(update={"perpetual": margin.model_copy(update=forced)}),
            funding=None if rates is None else rates * held,
        )


@dataclass(frozen=True, slots=True)
class Resampled:
    """Other histories made of the same pieces, `n` of them in blocks of `mean_block` on average.

    `percentiles`: total_return, max_drawdown and sharpe at each of PERCENTILES, and as it happened. `curves`: growth of 1 at the percentiles 5, 50, 95,
    and as it happened, at the marks `at`, of which the first is before any return.
    """

    percentiles: pl.DataFrame
    curves: pl.DataFrame
    at: NDArray[np.int64]
    mean_block: float
    n: int


def delayed(targets: Floats, bars: int) -> Floats:
    """Exposures [time, asset] set so many bars later; nothing is set before the first."""
    late = np.full_like(targets, np.nan)
    late[bars:] = targets[: max(len(targets) - bars, 0)]
    return late


def plateau(case: Case) -> pl.DataFrame:
    """The same decisions at other sizes and delays: size, bars_late, equity (final), sharpe, fills."""

    def varied(_: Panel, size: float, bars_late: int) -> Floats:
        return delayed(case.targets, bars_late) * size

    grid: dict[str, Sequence[float]] = {"size": SIZES, "bars_late": DELAYS}
    return case.swept(varied, grid)


def share_near_best(found: pl.DataFrame) -> float:
    """Share of the best point's neighbours whose Sharpe ratio is near its own; nan without a Sharpe. The first two columns of `found` say where a point lies.

    Neighbours are one step away in either direction, or in both. A peak has none of them, a plateau all.
    """
    down, across = (np.unique(found[name], return_inverse=True)[1] for name in found.columns[:2])
    table = np.full((down.max(initial=-1) + 1, across.max(initial=-1) + 1), np.nan)
    table[down, across] = found["sharpe"]
    if not np.isfinite(table).any():
        return math.nan
    row, column = np.unravel_index(int(np.nanargmax(table)), table.shape)
    best = float(table[row, column])
    around = table[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return float((np.sum(around >= best - NEAR * abs(best)) - 1) / (around.size - 1)) if around.size > 1 else math.nan


def stresses(case: Case) -> pl.DataFrame:
    """As it was, at twice the cost, one bar later, and both: name, total_return, sharpe, max_drawdown, fills, refusals."""
    cases = {
        "as tested": case,
        "every cost doubled": case.dearer(2.0),
        "one bar later": case.late(1),
        "both": case.dearer(2.0).late(1),
    }
    return pl.DataFrame([{"name": name, **_told(each.result)} for name, each in cases.items()])


def _told(result: Result) -> dict[str, float | int]:
    told = {name: float(result.measures[name]) for name in ("total_return", "sharpe", "max_drawdown")}
    return {**told, "fills": int(result.measures["fills"]), "refusals": result.refusals.height}


def resampled(returns: Floats, periods_per_year: float, *, n_resamples: int = 1000, seed: int = 0) -> Resampled:
    """Stationary bootstrap of `returns` [time] in blocks of the optimal length: how else the same pieces might have come."""
    n, block = len(returns), optimal_block_bars(returns)
    at = np.unique(np.linspace(0, n, min(n + 1, POINTS)).round().astype(np.int64))
    rows = stationary_bootstrap(n, mean_block_bars=block, n_resamples=n_resamples, seed=seed)
    told, growths = zip(*(_history(returns[drawn], periods_per_year, at) for drawn in rows), strict=True)
    happened, growth = _history(returns, periods_per_year, at)
    names = ("total_return", "max_drawdown", "sharpe")
    rows_told = zip(names, zip(*told, strict=True), happened, strict=True)
    percentiles = [{"measure": name, **_percentiles(np.array(values)), "happened": found} for name, values, found in rows_told]
    low, middle, high = np.percentile(np.array(growths), (5, 50, 95), axis=0)
    curves = pl.DataFrame({"happened": growth, "p5": low, "p50": middle, "p95": high})
    return Resampled(pl.DataFrame(percentiles), curves, at, block, n_resamples)


def _percentiles(values: Floats) -> dict[str, float]:
    """Of those that are defined: a resample that never moves has no Sharpe ratio."""
    known = values[np.isfinite(values)]
    return {f"p{share}": float(np.percentile(known, share)) if len(known) else math.nan for share in PERCENTILES}


def _history(returns: Floats, periods_per_year: float, at: NDArray[np.int64]) -> tuple[tuple[float, float, float], Floats]:
    growth = np.concatenate(([1.0], np.cumprod(1 + returns)))
    return (float(growth[-1] - 1), measures.max_drawdown(growth), measures.sharpe(returns, periods_per_year)), growth[at]


def round_trips(result: Result, last_prices: Mapping[str, float], initial_cash: float) -> pl.DataFrame:
    """Every trade from flat to flat: symbol, opened, closed, gain (net of fees, fraction of the equity before it opened), in the order they closed.

    What is still open is valued at `last_prices`. An order that turns a position over ends one trade and begins the next. Funding belongs to no trade.
    """
    rows = [trip for (symbol,), fills in result.fills.group_by("symbol") for trip in _trips(str(symbol), fills.sort("time"), last_prices[str(symbol)])]
    found = pl.DataFrame(rows, schema=["symbol", "opened", "closed", "gain"], orient="row", infer_schema_length=None)
    if found.is_empty():
        return found
    before = np.searchsorted(result.times, found["opened"].dt.replace_time_zone(None).to_numpy(), side="right") - 1
    equity = np.where(before >= 0, result.equity[before], initial_cash)
    return found.with_columns(pl.col("gain") / pl.Series(equity)).sort("closed", "opened", "symbol")


def _trips(symbol: str, fills: pl.DataFrame, last_price: float) -> Iterator[tuple[str, object, object, float]]:
    """Trades of one symbol; gains in quote."""
    held, cash, opened, moment = 0.0, 0.0, None, None
    for moment, lots, quantity, price, fee, side in fills.select("time", "lots", "quantity", "price", "fee", "side").iter_rows():
        signed, unit = (lots if side == "buy" else -lots), quantity / lots
        closing = min(abs(signed), abs(held)) if held * signed < 0 else 0
        for part in (math.copysign(closing, signed), signed - math.copysign(closing, signed)):
            if not part:
                continue
            opened = opened if held else moment
            held, cash = held + part, cash - part * unit * price - abs(part) / lots * fee
            if not held:
                yield symbol, opened, moment, cash
                cash = 0.0
    if held:
        yield symbol, opened, moment, cash + held * unit * last_price


def resampled_trades(trips: pl.DataFrame, years: float) -> Resampled | None:
    """The trades in other orders and numbers, one after another; None when there are too few."""
    return resampled(trips["gain"].to_numpy(), trips.height / years) if trips.height >= FEWEST_TRADES else None


def placebo(case: Case, *, seed: int = 0) -> pl.DataFrame:
    """The same exposures on made-up markets as volatile as this one, where they cannot know anything.

    world, markets, total_return (median), p95 (of it), max_drawdown (median), as_good (share of markets that paid at least what ours did). No row
    when this market never moves.
    """
    n_bars, n_assets = case.targets.shape
    n_panels = min(max(MOST_CELLS // (n_bars * n_assets), FEWEST_MARKETS), MOST_MARKETS)
    ours, rows, moves = case.result.measures["total_return"], [], volatility(case.bars)
    for number, (name, world) in enumerate(noise(moves).items() if moves > 0 else ()):
        drawn = panels(world, n_bars, symbols=case.bars.symbols, n_panels=n_panels, seed=seed + number)
        played = [replace(case, bars=bars, instruments=None).result.measures for bars in drawn]
        paid, falls = np.array([each["total_return"] for each in played]), [each["max_drawdown"] for each in played]
        rows.append(
            {
                "world": name,
                "markets": n_panels,
                "total_return": float(np.median(paid)),
                "p95": float(np.percentile(paid, 95)),
                "max_drawdown": float(np.median(falls)),
                "as_good": float(np.mean(paid >= ours)),
            }
        )
    return pl.DataFrame(rows)


def volatility(bars: Panel) -> float:
    """Standard deviation of one bar's log return, root mean square over symbols; neighbours of a missing bar are left out. nan without a move."""
    moves = np.diff(np.log(bars.close), axis=0)
    known = [column[np.isfinite(column)] for column in moves.T]
    variances = [float(np.var(column)) for column in known if len(column)]
    return math.sqrt(sum(variances) / len(variances)) if variances else math.nan
