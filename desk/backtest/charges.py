"""What the same fills and positions would have been charged besides: fees by the tiers that they earn alone, interest on what was borrowed.

Kernel and session charge the rates of one tier, `costs.volume_30d`'s, and lend for nothing; this says how far that is from the venue's own schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.trading import CostSettings
from desk.costs import borrow, fee, rates_at

Floats = NDArray[np.float64]

# Venues look back this far for the volume that earns a tier.
_TRAILING = np.timedelta64(30, "D")


@dataclass(frozen=True, slots=True)
class Charges:
    """In quote, over the whole span.

    `tier_fees`: every fill a taker's, at the rate that the fills of the 30 days before it earn, and at `fee_rate` where there are no tiers;
    `traded_30d`: the most that they came to before any fill.
    """

    tier_fees: float
    borrowed: float
    traded_30d: float


def charges(fills: pl.DataFrame, notionals: Floats, costs: CostSettings, bars_per_year: float) -> Charges:
    """Charge `fills` (a result's, in time order) and signed position `notionals` [time, asset] (quote, NaN where unknown) by the venue's schedule."""
    traded = fills.select(pl.col("quantity").cast(pl.Float64) * pl.col("price").cast(pl.Float64)).to_series().to_numpy()
    times = fills["time"].dt.replace_time_zone(None).to_numpy()
    volume = trailing_volume(times, traded)
    fees, borrowed = fee(traded, rates_at(volume, costs).taker), borrow(notionals, costs.borrow_rate, 1 / bars_per_year)
    return Charges(float(fees.sum()), float(np.nansum(borrowed)), float(volume.max(initial=0.0)))


def trailing_volume(times: NDArray[np.datetime64], traded: Floats) -> Floats:
    """Notional traded in the 30 days before each fill [fill], in quote; its own moment is not before it. `times` ascend."""
    before = np.concatenate(([0.0], np.cumsum(traded)))
    volume: Floats = before[np.searchsorted(times, times)] - before[np.searchsorted(times, times - _TRAILING)]
    return volume
