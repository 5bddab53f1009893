"""The vectorised backtest: the session's accounting, compiled, for research at scale.

A second implementation of the same story, held equal to the session fill for fill by `tests/agreement`. It plays given exposures; where
they come from is the caller's matter. What it assumes is in docs/assumptions.md and in every result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled
from desk.backtest.laid import Laid, Under
from desk.backtest.loop import EXCESSES, FILLS, REFUSALS, Run
from desk.backtest.panel import Panel
from desk.backtest.result import Result
from desk.backtest.stage import Room, Stage
from desk.backtest.summary import Measures
from desk.backtest.venue_loop import Besides
from desk.costs import charged_rates, fee
from desk.errors import ContractBroken
from desk.instruments import Instrument

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

# Where runs write their records.
_ROOM = Room()


def simulate(
    bars: Panel,
    targets: Floats,
    costs: CostSettings,
    limits: RiskSettings,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    trading: TradingSettings | None = None,
    funding: Floats | None = None,
) -> Result:
    """Play exposures `targets` [time, asset] in [-1, 1], decided at each row's close (NaN: no order), executed from the next open on.

    `costs` is what is charged (not `trading.costs`). Without `instruments` the grid is so fine that it does not matter; without `trading`
    the account is the default one. `funding`: rates [time, asset] that contracts pay at each row's end (0: none due); without it the settings' rate.
    """
    account = trading or TradingSettings()
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=account, funding=funding)
    run, besides = _play(stage, targets)
    return Result(
        times=bars.closed_at,
        symbols=bars.symbols,
        equity=run.equity,
        detail=Laid(stage, run, besides, Under(account, costs, limits)),
        measures=_measures(stage, run, besides),
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
    import polars as pl  # late: it takes longer than a whole run

    names = tuple(grid)
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=trading or TradingSettings())

    def play(values: tuple[Any, ...]) -> tuple[Any, ...]:
        run, besides = _play(stage, targets_of(bars, **dict(zip(names, values, strict=True))))
        return *values, float(run.equity[-1]), _measures(stage, run, besides)["sharpe"], int(run.account.counts[FILLS])

    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(play, product(*grid.values())))
    return pl.DataFrame(rows, schema=[*names, "equity", "sharpe", "fills"], orient="row")


def warm_up() -> None:
    """Compile the loops, the widest with and without a limit on shortfall, and leave them on disk for every later process: each plays two made-up bars."""
    times, prices = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"), np.ones((2, 2))
    both = Panel(times, ("BTC/USDT", "ETH/USDT"), prices, prices, prices, prices, prices)
    one = prices[:, :1].copy()
    alone = Panel(times, ("BTC/USDT",), one, one, one, one, one)
    plain, wider, calm, careful = TradingSettings(), TradingSettings(carry_partials=True), RiskSettings(), RiskSettings(max_expected_shortfall=0.1)
    for bars, account, limits in ((alone, plain, calm), (both, plain, calm), (alone, wider, calm), (alone, wider, careful)):
        simulate(bars, np.zeros(bars.close.shape), CostSettings(), limits, trading=account)


def _play(stage: Stage, targets: Floats) -> tuple[Run, Besides | None]:
    """Run the compiled loop, the one that the stage needs."""
    run, besides = stage.run(targets, _ROOM), None
    if stage.terms is None:
        (compiled.play_line() if len(run.market.line.close) else compiled.play())(run)
    else:
        besides = stage.besides(_ROOM)
        outlook = stage.outlook()
        if outlook is None:
            compiled.play_all()(run, stage.terms, besides)
        else:
            compiled.play_careful()(run, stage.terms, besides, outlook)
    if run.account.counts[EXCESSES]:
        raise ContractBroken(f"expected exposures in [-1, 1], found {np.nanmax(np.abs(targets))}: correct the strategy")
    return _kept(run, besides)


def _kept(run: Run, besides: Besides | None) -> tuple[Run, Besides | None]:
    """The same with copies of the records that were made: the next run writes over them."""
    account, made = run.account, run.account.counts
    records = account._replace(fills=account.fills[: made[FILLS]].copy(), refusals=account.refusals[: made[REFUSALS]].copy())
    if besides is not None:
        besides = besides._replace(kinds=besides.kinds[: made[FILLS]].copy(), payments=besides.payments[: besides.paid[0]].copy())
    return run._replace(account=records), besides


def _measures(stage: Stage, run: Run, besides: Besides | None) -> Measures:
    traded = float(run.sums[-1])
    charged = fee(traded, stage.rules.fee_rate) if besides is None else float(besides.fees[0])
    return Measures(run.equity, run.sums[:-1], traded=traded, fees=charged, fills=int(run.account.counts[FILLS]), bars_per_year=stage.bars.bars_per_year)


def _assumptions(bars: Panel, trading: TradingSettings, costs: CostSettings, limits: RiskSettings) -> dict[str, str]:
    """Under what this holds; docs/assumptions.md says which way each errs."""
    return {
        "execution": f"market orders at the next bar's open; what does not fill is {'sent again' if trading.carry_partials else 'cancelled'}",
        "participation": f"at most {costs.participation_cap:g} of a bar's volume, known only after the open it is filled at",
        "price": f"open worse by {costs.half_spread_bps:g} bps and {costs.impact_bps:g} bps times the root of participation, rounded against us",
        "fee": f"{charged_rates(costs).taker:g} of notional, in {trading.quote}",
        "impact": "our trades do not move the bars that follow",
        "stops": _stops(trading),
        "contracts": f"margin for {trading.perpetual.leverage:g} times equity, closed by force below {trading.perpetual.maintenance:g} of positions",
        "shorts": "a short position costs nothing to borrow",
        "capital": f"{trading.initial_cash} {trading.quote}, {trading.gross_weight:g} of it split over {len(bars.symbols)} symbols",
        "limits": f"drawdown {limits.max_drawdown:g}, daily loss {limits.max_daily_loss:g}, "
        f"position {limits.max_position_weight:g}, gross {limits.max_gross_weight:g} of equity{_shortfall(limits)}",
        "gaps": "no bar, no order and no fill; positions are marked at the last close",
    }


def _shortfall(limits: RiskSettings) -> str:
    """The limit on expected shortfall, in words."""
    most = limits.max_expected_shortfall
    return f", expected shortfall {most:g} at {limits.shortfall_level:g} with a covariance of {limits.covariance_bars} bars" if most else ""


def _stops(trading: TradingSettings) -> str:
    """What closes positions inside a bar, in words."""
    named = {"stop": trading.protective_stop, "trailing stop": trading.trailing_stop, "gain": trading.take_profit}
    told = ", ".join(f"{name} {value:g}" for name, value in named.items() if value)
    return f"{told}; the stop comes first in a bar that reaches both, and fills at the open beyond a gap" if told else "none"
