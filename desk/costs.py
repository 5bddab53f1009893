"""What a trade costs: one formula for every array.

Operators only, so that float, numpy, torch and polars share it and the numba kernel compiles this very function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from configs.trading import CostSettings

_BASIS_POINT = 1e-4


def trade_cost_fraction(half_spread_bps: float, impact_bps: float, participation: Any) -> Any:
    """Price given up by a trade that takes the share `participation` in [0, 1] of a bar's volume, as a fraction of price.

    Half the spread plus square-root impact, both in basis points (Almgren et al. 2005 for the exponent's family; .5 as is usual).
    NaN participation gives NaN. `participation` is what all fills of the bar take together: then splitting a trade saves nothing
    (`desk.execution.fills.impact_share` says what one of them pays).
    """
    return (half_spread_bps + impact_bps * participation**0.5) * _BASIS_POINT


def fee(notional: Any, fee_rate: Any) -> Any:
    """Fee of a trade of `notional` >= 0 at `fee_rate` (fraction of notional), in the notional's unit. Any number type, Decimal too."""
    return notional * fee_rate


class FeeRates(NamedTuple):
    """Fees, fractions of notional: of an order that crossed, and of one that rested."""

    taker: Any
    maker: Any


def charged_rates(costs: CostSettings) -> FeeRates:
    """What every fill of a run is charged, in every mode: the rates of the tier that `costs.volume_30d` reaches."""
    return rates_at(costs.volume_30d, costs)


def rates_at(volume: Any, costs: CostSettings) -> FeeRates:
    """The rates of an account that traded `volume` (quote, any array; NaN gives NaN) in the 30 days before: the tier reached, or `fee_rate` below all."""
    tiers = costs.fee_tiers
    thresholds = [0.0, *(tier.volume for tier in tiers)]
    takers = [costs.fee_rate, *(tier.taker for tier in tiers)]
    told = [None, *(tier.maker for tier in tiers)]
    makers = [taker * costs.maker_share if maker is None else maker for taker, maker in zip(takers, told, strict=True)]
    return FeeRates(tiered_rate(volume, thresholds, takers), tiered_rate(volume, thresholds, makers))


def tiered_rate(volume: Any, thresholds: Sequence[float], rates: Sequence[float]) -> Any:
    """Fee rate of an account that traded `volume` (quote) over the venue's trailing window: `rates[k]` from `thresholds[k]` on, the first below all.

    `thresholds` ascend and are as many as `rates`; the first is not looked at. The very number in `rates`: nothing is added up to it.
    """
    rate = rates[0] + 0.0 * volume
    for threshold, reached in zip(thresholds[1:], rates[1:], strict=True):
        rate = rate * (volume < threshold) + reached * (volume >= threshold)
    return rate


def square_root_impact_bps(bar_volatility: Any, prefactor: float = 1.0) -> Any:
    """Impact in basis points of taking a whole bar's volume, from the standard deviation of a bar's return (fraction).

    prefactor * volatility * sqrt(participation), the square-root law; the prefactor is of order one on every market measured (Toth et al. 2011).
    """
    return prefactor * bar_volatility / _BASIS_POINT


def funding(position_notional: Any, rate: Any) -> Any:
    """What a perpetual position pays at a settlement, in the notional's unit: longs pay a positive `rate`, shorts (negative notional) receive it."""
    return position_notional * rate


def borrow(position_notional: Any, annual_rate: Any, years: Any) -> Any:
    """What a short position (negative notional) pays for what it borrowed over `years`; a long pays nothing."""
    return (abs(position_notional) - position_notional) / 2 * annual_rate * years
