"""What the loops wrote, laid out for people: frames with columns in the panel's order, times as the desk tells them, costs by kind, hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled
from desk.backtest.loop import FILLS as FILLS_MADE
from desk.backtest.loop import REFUSALS as REFUSALS_MADE
from desk.backtest.loop import Run
from desk.backtest.stage import Stage
from desk.backtest.venue_loop import FORCED, GAIN, Besides
from desk.costs import fee, trade_cost_fraction
from desk.execution.fills import impact_share
from desk.risk.guards import GUARDS

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

_FUNDING_UNIT = 1e-8


class Under(NamedTuple):
    """The settings of a simulation."""

    trading: TradingSettings
    costs: CostSettings
    limits: RiskSettings


@dataclass(frozen=True)
class Laid:
    """A `Detail` of a run, laid out when it is asked for."""

    stage: Stage
    run: Run
    besides: Besides | None
    under: Under

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Rows as in `desk.backtest.frames.FILLS`."""
        import polars as pl  # late: it takes longer than a whole run

        from desk.backtest.frames import FILLS

        stage, made = self.stage, self._made
        asset, lots, ticks = stage.order[made["asset"]], np.abs(made["lots"]), made["ticks"].copy()
        quantity, price = _on_grid(lots, _by_column(stage, stage.book["lot"])[asset]), _on_grid(ticks, _by_column(stage, stage.book["tick"])[asset])
        return pl.DataFrame(
            {
                "time": self._fill_times,
                "symbol": pl.Series(stage.bars.symbols, dtype=pl.String).gather(asset),
                "side": pl.Series(["sell", "buy"]).gather((made["lots"] > 0).astype(np.int64)),
                "lots": lots,
                "ticks": ticks,
                "quantity": quantity,
                "price": price,
                "fee": fee(quantity * price, _fee_rates(stage, self.run, self.besides)),
            },
            schema=FILLS,
        )

    @cached_property
    def refusals(self) -> pl.DataFrame:
        """Rows as in `desk.backtest.frames.REFUSALS`."""
        import polars as pl  # late: it takes longer than a whole run

        from desk.backtest.frames import REFUSALS

        stage, made = self.stage, self.run.account.refusals[: self.run.account.counts[REFUSALS_MADE]]
        guard = made["guard"].copy()
        return pl.DataFrame(
            {
                "time": _moments(stage.bars.closed_at, made["row"]),
                "symbol": pl.Series(stage.bars.symbols, dtype=pl.String).gather(stage.order[made["asset"]]),
                "guard": pl.Series([*GUARDS, "collar", "protection", "shortfall"]).gather(guard),
                "reason": pl.Series(_reasons(self.under.limits)).gather(guard),
            },
            schema=REFUSALS,
        )

    @cached_property
    def positions(self) -> Floats:
        """Base units [time, asset]: the running sum of the fills."""
        stage, made = self.stage, self._made
        lots = np.zeros(stage.bars.close.shape, dtype=np.int64)
        np.add.at(lots, (made["row"], stage.order[made["asset"]]), made["lots"])
        np.cumsum(lots, axis=0, out=lots)
        return lots * _by_column(stage, stage.book["lot"])

    @cached_property
    def costs(self) -> dict[str, float]:
        """By kind, in quote. Spread and impact are recomputed from the fills: what rounding to ticks adds is in neither."""
        fills, costs = self.fills, self.under.costs
        kinds, share = _kinds(self.run, self.besides), self._participation
        crossed = np.where(kinds == GAIN, 0.0, 1.0)
        signs = np.where(self._made["lots"] > 0, 1.0, -1.0)
        notional = (fills["quantity"] * fills["price"]).to_numpy()
        at_the_touch = notional / (1 + signs * crossed * trade_cost_fraction(costs.half_spread_bps, costs.impact_bps, share))
        forced = notional[kinds == FORCED].sum() * self.under.trading.perpetual.liquidation_fee
        paid = 0 if self.besides is None else int(self.besides.payments["units"][: self.besides.paid[0]].sum())
        return {
            "fees": float(fills["fee"].sum() - forced),
            "spread": float((at_the_touch * crossed).sum() * trade_cost_fraction(costs.half_spread_bps, 0.0, 0.0)),
            "impact": float((at_the_touch * crossed * trade_cost_fraction(0.0, costs.impact_bps, share)).sum()),
            "funding": paid * _FUNDING_UNIT,
            "liquidation": float(forced),
        }

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the bars, the targets, the rates that contracts paid, the settings and the code."""
        bars, market, under = self.stage.bars, self.run.market, self.under
        words = "|".join(each.model_dump_json() for each in under) + repr(self.stage.book["lot"].tolist()) + repr(self.stage.book["tick"].tolist())
        named, earlier = "|".join(bars.symbols).encode(), [] if bars.before is None else [bars.before]
        return {
            "bars": _digest(named, bars.times.astype("datetime64[us]"), bars.open, bars.high, bars.low, bars.close, bars.volume, *earlier),
            "targets": _digest(b"", market.targets),
            **({"funding": _digest(b"", self.stage.terms.due, self.stage.terms.funding)} if self.stage.terms else {}),
            "settings": hashlib.sha256(words.encode()).hexdigest(),
            "code": compiled.code_hash(),
        }

    @property
    def _made(self) -> NDArray[np.void]:
        return self.run.account.fills[: self.run.account.counts[FILLS_MADE]]

    @property
    def _fill_times(self) -> pl.Series:
        """The opens of the bars; what is closed by force is closed at a bar's end."""
        import polars as pl

        bars, made = self.stage.bars, self._made
        ends = _kinds(self.run, self.besides) == FORCED
        times = np.where(ends, bars.closed_at[made["row"]], bars.times[made["row"]].astype("datetime64[us]"))
        return pl.Series(times.astype("datetime64[us]")).dt.replace_time_zone("UTC")

    @property
    def _participation(self) -> Floats:
        """The share of its bar's volume whose impact each fill pays: its own, or what it added to those before it in the bar; 1 where it was forced."""
        import polars as pl

        made, stage = self._made, self.stage
        lots, lot = np.abs(made["lots"]), stage.book["lot"][made["asset"]]
        frame = pl.DataFrame({"cell": made["row"].astype(np.int64) * len(stage.order) + made["asset"], "lots": lots})
        taken = frame.select(pl.col("lots").cum_sum().over("cell"))["lots"].to_numpy() - lots
        volume = stage.bars.volume[made["row"], stage.order[made["asset"]]]
        share: Floats = lots * lot / np.where(volume > 0, volume, np.inf)
        for late in np.flatnonzero((taken > 0) & (volume > 0)).tolist():
            share[late] = impact_share(int(lots[late]), float(volume[late]), float(lot[late]), int(taken[late]))
        share[_kinds(self.run, self.besides) == FORCED] = 1.0
        return share


def _kinds(run: Run, besides: Besides | None) -> NDArray[np.int8]:
    """How each fill came about."""
    count = int(run.account.counts[FILLS_MADE])
    return np.zeros(count, np.int8) if besides is None else besides.kinds[:count]


def _fee_rates(stage: Stage, run: Run, besides: Besides | None) -> Floats:
    """The rate that each fill was charged."""
    plain, terms = stage.rules.fee_rate, stage.terms
    rates = np.array([plain, plain, terms.resting.fee_rate, terms.forced.fee_rate] if terms else [plain])
    found: Floats = rates[_kinds(run, besides)]
    return found


def _digest(words: bytes, *arrays: NDArray[np.generic]) -> str:
    digest = hashlib.sha256(words)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


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
        f"the close left the one before by more than {limits.price_collar:g}",
        "its stop would be below the least notional",
        f"expected shortfall would exceed {limits.max_expected_shortfall:g} of equity, or is not known yet",
    ]


def _moments(times: NDArray[np.datetime64], rows: NDArray[np.int32]) -> pl.Series:
    import polars as pl

    return pl.Series(times[rows].astype("datetime64[us]")).dt.replace_time_zone("UTC")
