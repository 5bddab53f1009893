"""The vectorised backtest: the session's accounting, compiled, for research at scale.

A second implementation of the same story, held equal to the session fill for fill by `tests/agreement`. It plays given exposures; where
they come from is the caller's matter. What it assumes is in docs/assumptions.md and in every result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled
from desk.backtest.loop import EXCESSES, Run
from desk.backtest.loop import FILLS as FILLS_MADE
from desk.backtest.loop import REFUSALS as REFUSALS_MADE
from desk.backtest.panel import Panel
from desk.backtest.result import FILLS, REFUSALS, Result
from desk.backtest.stage import Stage
from desk.backtest.summary import Measures
from desk.costs import fee
from desk.errors import ContractBroken
from desk.instruments import Instrument
from desk.risk.guards import GUARDS

Floats = NDArray[np.float64]


def simulate(
    bars: Panel,
    targets: Floats,
    costs: CostSettings,
    limits: RiskSettings,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    trading: TradingSettings | None = None,
) -> Result:
    """Play exposures `targets` [time, asset] in [-1, 1], decided at each row's close (NaN: no order), executed from the next open on.

    `costs` is what is charged (not `trading.costs`). Without `instruments` the grid is so fine that it does not matter; without `trading`
    the account is the default one.
    """
    account = trading or TradingSettings()
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=account)
    run = _play(stage, targets)
    return Result(
        times=bars.closed_at,
        symbols=bars.symbols,
        equity=run.equity,
        detail=Laid(stage, run, limits),
        measures=_measures(stage, run),
        assumptions=_assumptions(bars, account, costs, limits),
    )


def sweep(
    bars: Panel,
    targets_of: Callable[..., Floats],
    grid: Mapping[str, Sequence[Any]],
    costs: CostSettings,
    limits: RiskSettings,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    trading: TradingSettings | None = None,
    threads: int = 1,
) -> pl.DataFrame:
    """One row per combination of `grid` (name -> values), in the order of its product: the parameters, `equity` (final, quote), `sharpe`
    (annual), `fills` (count).

    `targets_of(bars, **parameters)` gives the exposures [time, asset]. Only `threads` simulations exist at a time: memory grows with time,
    not with combinations.
    """
    names = tuple(grid)
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=trading or TradingSettings())

    def play(values: tuple[Any, ...]) -> tuple[Any, ...]:
        run = _play(stage, targets_of(bars, **dict(zip(names, values, strict=True))))
        return *values, float(run.equity[-1]), _measures(stage, run)["sharpe"], int(run.account.counts[FILLS_MADE])

    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(play, product(*grid.values())))
    return pl.DataFrame(rows, schema=[*names, "equity", "sharpe", "fills"], orient="row")


def warm_up() -> None:
    """Compile the loop, and leave it on disk for every later process: two made-up bars are played."""
    times, prices = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"), np.ones((2, 1))
    bars = Panel(times, ("BTC/USDT",), prices, prices, prices, prices, prices)
    simulate(bars, np.zeros((2, 1)), CostSettings(), RiskSettings())


def _play(stage: Stage, targets: Floats) -> Run:
    """Run the compiled loop."""
    run = stage.run(targets)
    compiled.play()(run)
    if run.account.counts[EXCESSES]:
        raise ContractBroken(f"expected exposures in [-1, 1], found {np.nanmax(np.abs(targets))}: correct the strategy")
    return run


@dataclass(frozen=True)
class Laid:
    """A `Detail` of a run, laid out when it is asked for: columns in the panel's order, times as the desk tells them."""

    stage: Stage
    run: Run
    limits: RiskSettings

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Rows as in `FILLS`."""
        stage, made = self.stage, self.run.account.fills[: self.run.account.counts[FILLS_MADE]]
        asset, lots, ticks = stage.order[made["asset"]], np.abs(made["lots"]), made["ticks"].copy()
        quantity, price = _on_grid(lots, _by_column(stage, stage.book["lot"])[asset]), _on_grid(ticks, _by_column(stage, stage.book["tick"])[asset])
        return pl.DataFrame(
            {
                "time": _moments(stage.bars.times, made["row"]),
                "symbol": pl.Series(stage.bars.symbols, dtype=pl.String).gather(asset),
                "side": pl.Series(["sell", "buy"]).gather((made["lots"] > 0).astype(np.int64)),
                "lots": lots,
                "ticks": ticks,
                "quantity": quantity,
                "price": price,
                "fee": fee(quantity * price, stage.rules.fee_rate),
            },
            schema=FILLS,
        )

    @cached_property
    def refusals(self) -> pl.DataFrame:
        """Rows as in `REFUSALS`."""
        stage, made = self.stage, self.run.account.refusals[: self.run.account.counts[REFUSALS_MADE]]
        guard = made["guard"].copy()
        return pl.DataFrame(
            {
                "time": _moments(stage.bars.closed_at, made["row"]),
                "symbol": pl.Series(stage.bars.symbols, dtype=pl.String).gather(stage.order[made["asset"]]),
                "guard": pl.Series(GUARDS).gather(guard),
                "reason": pl.Series(_reasons(self.limits)).gather(guard),
            },
            schema=REFUSALS,
        )

    @cached_property
    def positions(self) -> Floats:
        """Base units [time, asset]: the running sum of the fills."""
        stage, made = self.stage, self.run.account.fills[: self.run.account.counts[FILLS_MADE]]
        lots = np.zeros(stage.bars.close.shape, dtype=np.int64)
        lots[made["row"], stage.order[made["asset"]]] = made["lots"]
        np.cumsum(lots, axis=0, out=lots)
        return lots * _by_column(stage, stage.book["lot"])


def _measures(stage: Stage, run: Run) -> Measures:
    traded = float(run.sums[-1])
    charged = fee(traded, stage.rules.fee_rate)
    return Measures(run.equity, run.sums[:-1], traded=traded, fees=charged, fills=int(run.account.counts[FILLS_MADE]), bars_per_year=stage.bars.bars_per_year)


def _by_column(stage: Stage, of_book: Floats) -> Floats:
    """A part of the book in the panel's column order."""
    values = np.empty(len(stage.order))
    values[stage.order] = of_book
    return values


def _on_grid(steps: NDArray[np.int64], step: Floats) -> Floats:
    """Whole steps as the float nearest to their decimal value: 3 steps of .1 are .3, not .30000000000000004."""
    per_unit = np.rint(1 / step)
    whole = np.isclose(per_unit * step, 1.0, rtol=1e-12)
    return np.where(whole, steps / np.where(whole, per_unit, 1.0), steps * step)


def _reasons(limits: RiskSettings) -> list[str]:
    """Why each guard refuses, by its code."""
    return [
        "",
        f"fell {limits.max_drawdown:g} from the equity peak: only reducing orders from then on",
        f"lost {limits.max_daily_loss:g} since the day's first mark: only reducing orders that day",
        f"position would exceed {limits.max_position_weight:g} of equity",
        f"sum of positions would exceed {limits.max_gross_weight:g} of equity",
        f"sum of signed positions would exceed {limits.max_net_weight:g} of equity",
        f"position would exceed {limits.max_concentration:g} of all positions",
        f"more than {limits.max_orders_per_minute} orders in one minute",
    ]


def _moments(times: NDArray[np.datetime64], rows: NDArray[np.int32]) -> pl.Series:
    return pl.Series(times[rows].astype("datetime64[us]")).dt.replace_time_zone("UTC")


def _assumptions(bars: Panel, trading: TradingSettings, costs: CostSettings, limits: RiskSettings) -> dict[str, str]:
    """Under what this holds; docs/assumptions.md says which way each errs."""
    return {
        "execution": "market orders at the next bar's open; what does not fill is cancelled",
        "participation": f"at most {costs.participation_cap:g} of a bar's volume, known only after the open it is filled at",
        "price": f"open worse by {costs.half_spread_bps:g} bps and {costs.impact_bps:g} bps times the root of participation, rounded against us",
        "fee": f"{costs.fee_rate:g} of notional, in {trading.quote}",
        "impact": "our trades do not move the bars that follow",
        "shorts": "a short position costs nothing to borrow",
        "capital": f"{trading.initial_cash} {trading.quote}, {trading.gross_weight:g} of it split over {len(bars.symbols)} symbols",
        "limits": f"drawdown {limits.max_drawdown:g}, daily loss {limits.max_daily_loss:g}, "
        f"position {limits.max_position_weight:g}, gross {limits.max_gross_weight:g} of equity",
        "gaps": "no bar, no order and no fill; positions are marked at the last close",
    }
