"""What a trade costs: one formula for every array.

Operators only, so that float, numpy, torch and polars share it and the numba kernel compiles this very function.
"""

from __future__ import annotations

from typing import Any

_BASIS_POINT = 1e-4


def trade_cost_fraction(half_spread_bps: float, impact_bps: float, participation: Any) -> Any:
    """Price given up by a trade that takes the share `participation` in [0, 1] of a bar's volume, as a fraction of price.

    Half the spread plus square-root impact, both in basis points (Almgren et al. 2005 for the exponent's family; .5 as is usual).
    NaN participation gives NaN.
    """
    return (half_spread_bps + impact_bps * participation**0.5) * _BASIS_POINT


def fee(notional: Any, fee_rate: Any) -> Any:
    """Fee of a trade of `notional` >= 0 at `fee_rate` (fraction of notional), in the notional's unit. Any number type, Decimal too."""
    return notional * fee_rate
