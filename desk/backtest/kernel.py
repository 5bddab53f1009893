"""The vectorised backtest: the session's accounting, compiled, for research at scale.

A second implementation of the same story, held equal to the session fill for fill by `tests/agreement`. It plays given exposures; where
they come from is the caller's matter. What it assumes is in docs/assumptions.md and in every result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk import measures
from desk.backtest import compiled
from desk.backtest.loop import Grid, Market, Records, Rules
from desk.backtest.panel import Panel
from desk.backtest.result import FILLS, REFUSALS, Result
from desk.errors import ContractBroken
from desk.instruments import Instrument
from desk.risk.guards import GUARDS

Floats = NDArray[np.float64]

# Without a venue's grid: steps so fine that they do not matter.
_FINE = Decimal("1e-8")


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
    grid = _grid(bars, instruments)
    records = _play(bars, targets, grid, _rules(account, costs, limits, len(bars.symbols)))
    fills = _fills(bars, records, grid, costs)
    return Result(
        times=bars.closed_at,
        symbols=bars.symbols,
        equity=records.equity,
        fills=fills,
        refusals=_refusals(bars, records, limits),
        positions=records.positions,
        measures=_measures(records.equity, fills, bars.bars_per_year),
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
    rules, steps = _rules(trading or TradingSettings(), costs, limits, len(bars.symbols)), _grid(bars, instruments)

    def run(values: tuple[Any, ...]) -> tuple[Any, ...]:
        records = _play(bars, targets_of(bars, **dict(zip(names, values, strict=True))), steps, rules)
        returns = measures.returns_of(records.equity)
        return *values, float(records.equity[-1]), measures.sharpe(returns, bars.bars_per_year), int(records.counts[0])

    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(run, product(*grid.values())))
    return pl.DataFrame(rows, schema=[*names, "equity", "sharpe", "fills"], orient="row")


def _play(bars: Panel, targets: Floats, grid: Grid, rules: Rules) -> Records:
    """Run the compiled loop; records come back in the panel's column order."""
    if targets.shape != bars.close.shape:
        raise ContractBroken(f"expected exposures of shape {bars.close.shape}, found {targets.shape}: one row per time, one column per symbol")
    if (np.abs(targets) > 1).any():
        raise ContractBroken(f"expected exposures in [-1, 1], found {np.nanmax(np.abs(targets))}: correct the strategy")
    # Sequences matter when cash is short, and the sequence is the symbols' order, whatever the panel's is.
    order = np.argsort(np.array(bars.symbols))
    market = Market(*(_column_order(array, order) for array in (bars.open, bars.close, bars.volume)), bars.closed_at.astype(np.int64))
    records = _empty_records(*bars.close.shape)
    compiled.play()(market, _column_order(targets, order), Grid(*(array[order] for array in grid)), rules, records)
    back = np.argsort(order)
    return records._replace(
        positions=_column_order(records.positions, back),
        fill_asset=order[records.fill_asset[: records.counts[0]]],
        refusal_asset=order[records.refusal_asset[: records.counts[1]]],
    )


def _column_order(array: Floats, order: NDArray[np.int64]) -> Floats:
    """Columns rearranged, as contiguous float64; the array itself where nothing has to move."""
    arranged = array if (order == np.arange(len(order))).all() else array[:, order]
    return np.ascontiguousarray(arranged, dtype=np.float64)


def _empty_records(n_rows: int, n_assets: int) -> Records:
    """Room for the most that can happen: a fill and a refusal per asset and row. Untouched room takes no memory."""
    most = n_rows * n_assets
    return Records(
        equity=np.empty(n_rows),
        positions=np.empty((n_rows, n_assets)),
        fill_row=np.empty(most, np.int32),
        fill_asset=np.empty(most, np.int32),
        fill_lots=np.empty(most, np.int64),
        fill_ticks=np.empty(most, np.int64),
        refusal_row=np.empty(most, np.int32),
        refusal_asset=np.empty(most, np.int32),
        refusal_guard=np.empty(most, np.int8),
        counts=np.zeros(2, np.int64),
    )


def _grid(bars: Panel, instruments: Mapping[str, Instrument] | None) -> Grid:
    if instruments is None:
        instruments = {symbol: Instrument(symbol, "", "", _FINE, _FINE, Decimal(0)) for symbol in bars.symbols}
    missing = [symbol for symbol in bars.symbols if symbol not in instruments]
    if missing:
        raise ContractBroken(f"expected an instrument for every symbol of the bars, found none for {', '.join(missing)}: add them or drop the bars")
    steps = [instruments[symbol] for symbol in bars.symbols]
    values = [each.lot * each.tick for each in steps]
    return Grid(
        lot=_floats(each.lot for each in steps),
        tick=_floats(each.tick for each in steps),
        min_notional=_floats(each.min_notional for each in steps),
        value=_floats(values),
        value_rest=_floats(_rest(value) for value in values),
    )


def _rules(trading: TradingSettings, costs: CostSettings, limits: RiskSettings, n_assets: int) -> Rules:
    return Rules(
        cash=float(trading.initial_cash),
        cash_rest=float(_rest(trading.initial_cash)),
        share=trading.gross_weight / n_assets,
        band=trading.rebalance_band,
        half_spread_bps=costs.half_spread_bps,
        impact_bps=costs.impact_bps,
        participation_cap=costs.participation_cap,
        fee_rate=costs.fee_rate,
        fee_rate_rest=float(_rest(Decimal(repr(costs.fee_rate)))),
        max_position_weight=limits.max_position_weight,
        max_gross_weight=limits.max_gross_weight,
        max_drawdown=limits.max_drawdown,
        max_daily_loss=limits.max_daily_loss,
    )


def _rest(exact: Decimal) -> Decimal:
    """What the nearest float loses of a Decimal."""
    return exact - Decimal(float(exact))


def _floats(numbers: Iterable[Decimal]) -> Floats:
    return np.array([float(number) for number in numbers])


def _fills(bars: Panel, records: Records, grid: Grid, costs: CostSettings) -> pl.DataFrame:
    count = int(records.counts[0])
    asset, lots, ticks = records.fill_asset, np.abs(records.fill_lots[:count]), records.fill_ticks[:count]
    quantity, price = _on_grid(lots, grid.lot[asset]), _on_grid(ticks, grid.tick[asset])
    return pl.DataFrame(
        {
            "time": _moments(bars.times, records.fill_row[:count]),
            "symbol": pl.Series(bars.symbols, dtype=pl.String).gather(asset),
            "side": pl.Series(["sell", "buy"]).gather((records.fill_lots[:count] > 0).astype(np.int64)),
            "lots": lots,
            "ticks": ticks,
            "quantity": quantity,
            "price": price,
            "fee": quantity * price * costs.fee_rate,
        },
        schema=FILLS,
    )


def _on_grid(steps: NDArray[np.int64], step: Floats) -> Floats:
    """Whole steps as the float nearest to their decimal value: 3 steps of .1 are .3, not .30000000000000004."""
    per_unit = np.rint(1 / step)
    whole = np.isclose(per_unit * step, 1.0, rtol=1e-12)
    return np.where(whole, steps / np.where(whole, per_unit, 1.0), steps * step)


def _refusals(bars: Panel, records: Records, limits: RiskSettings) -> pl.DataFrame:
    count = int(records.counts[1])
    reasons = [
        "",
        f"fell {limits.max_drawdown:g} from the equity peak: only reducing orders from then on",
        f"lost {limits.max_daily_loss:g} since the day's first mark: only reducing orders that day",
        f"position would exceed {limits.max_position_weight:g} of equity",
        f"sum of positions would exceed {limits.max_gross_weight:g} of equity",
    ]
    guard = records.refusal_guard[:count].astype(np.int64)
    return pl.DataFrame(
        {
            "time": _moments(bars.closed_at, records.refusal_row[:count]),
            "symbol": pl.Series(bars.symbols, dtype=pl.String).gather(records.refusal_asset),
            "guard": pl.Series(GUARDS).gather(guard),
            "reason": pl.Series(reasons).gather(guard),
        },
        schema=REFUSALS,
    )


def _moments(times: NDArray[np.datetime64], rows: NDArray[np.int32]) -> pl.Series:
    return pl.Series(times[rows].astype("datetime64[us]")).dt.replace_time_zone("UTC")


def _measures(equity: Floats, fills: pl.DataFrame, bars_per_year: float) -> dict[str, float]:
    returns = measures.returns_of(equity)
    traded = float((fills["quantity"] * fills["price"]).sum())
    return {
        "total_return": float(equity[-1] / equity[0] - 1) if len(returns) else 0.0,
        "sharpe": measures.sharpe(returns, bars_per_year),
        "sortino": measures.sortino(returns, bars_per_year),
        "calmar": measures.calmar(returns, bars_per_year),
        "max_drawdown": measures.max_drawdown(equity),
        "value_at_risk": measures.value_at_risk(returns),
        "expected_shortfall": measures.expected_shortfall(returns),
        "turnover": measures.turnover(traded, equity, bars_per_year),
        "hit_rate": measures.hit_rate(returns),
        "profit_factor": measures.profit_factor(returns),
        "fees": float(fills["fee"].sum()),
        "fills": float(len(fills)),
    }


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
