"""What the same fills and positions would have been charged besides: fees by the venue's tiers, interest on what was borrowed.

The kernel and the session charge one fee rate and lend for nothing; this says how far that is from the venue's own schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.trading import CostSettings, FeeTier
from desk.costs import borrow, fee, tiered_rate

Floats = NDArray[np.float64]

# Venues look back this far for the volume that earns a tier.
_TRAILING = np.timedelta64(30, "D")


@dataclass(frozen=True, slots=True)
class Charges:
    """In quote, over the whole span; `tier_fees` by the settings' tiers, or by the one rate where there are none."""

    tier_fees: float
    borrowed: float


def charges(fills: pl.DataFrame, notionals: Floats, costs: CostSettings, bars_per_year: float) -> Charges:
    """Charge `fills` (a result's, in time order) and signed position `notionals` [time, asset] (quote, NaN where unknown) by the venue's schedule."""
    traded = fills.select(pl.col("quantity").cast(pl.Float64) * pl.col("price").cast(pl.Float64)).to_series().to_numpy()
    times = fills["time"].dt.replace_time_zone(None).to_numpy()
    rates = taker_rates(trailing_volume(times, traded), costs)
    return Charges(float(fee(traded, rates).sum()), float(np.nansum(borrow(notionals, costs.borrow_rate, 1 / bars_per_year))))


def trailing_volume(times: NDArray[np.datetime64], traded: Floats) -> Floats:
    """Notional traded in the 30 days before each fill [fill], in quote; its own moment is not before it. `times` ascend."""
    before = np.concatenate(([0.0], np.cumsum(traded)))
    volume: Floats = before[np.searchsorted(times, times)] - before[np.searchsorted(times, times - _TRAILING)]
    return volume


def taker_rates(volume: Floats, costs: CostSettings) -> Floats:
    """The taker's fee rate at each trailing `volume` (quote): the tier reached, or `fee_rate` below all of them."""
    tiers: Sequence[FeeTier] = costs.fee_tiers
    rates: Floats = tiered_rate(volume, [0.0, *(tier.volume for tier in tiers)], [costs.fee_rate, *(tier.taker for tier in tiers)])
    return rates
