"""Hedging the book's beta with a perpetual, inside a band in which hedging costs more than it helps.

With H the hedge's value, C the covariance matrix of one-bar returns and v the variance of the hedge's, the book's variance is least at
H* = -sum(value_i * C[i, hedge]) / v and grows by v * (H - H*)**2 away from it (Johnson 1960, the minimum-variance hedge). Held for n bars by an owner of
equity E and relative risk aversion a, that is worth a * v * n * (H - H*)**2 / (2 * E) of money; moving costs c for each unit of value. The sum is least
where the marginal gain equals c: at the near edge of a band of half-width b = c * E / (a * v * n) around H*. Inside it nothing is done (Whalley and
Wilmott 1997 find the same shape for options).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk.costs import charged_rates, trade_cost_fraction
from desk.errors import ContractBroken
from desk.instruments import Instrument, lots_of
from desk.risk.covariance import Covariance


@dataclass(frozen=True, slots=True)
class Hedge:
    """One hedging instrument. `cost` of moving, fraction of value; `weight` is aversion times horizon in bars."""

    instrument: Instrument
    covariance: Covariance
    cost: float
    weight: float

    @classmethod
    def of(cls, instruments: Mapping[str, Instrument], settings: RiskSettings, costs: CostSettings, covariance: Covariance | None) -> Hedge | None:
        """The hedge of the settings; None when they name none."""
        symbol = settings.hedge_symbol
        if not symbol or covariance is None:
            return None
        if ":" not in symbol:
            raise ContractBroken(f"expected a perpetual such as BTC/USDT:USDT in risk.hedge_symbol, found {symbol}: spot cannot be sold short")
        if symbol not in instruments:
            raise ContractBroken(
                f"expected risk.hedge_symbol among the instruments {', '.join(sorted(instruments))}, found {symbol}: trade it too, or unset it"
            )
        shared = [other for other, each in sorted(instruments.items()) if other != symbol and each.base == instruments[symbol].base]
        if shared:
            raise ContractBroken(f"expected a base of its own for {symbol}, found that of {shared[0]}: a balance cannot tell a coin from a contract on it")
        cost = charged_rates(costs).taker + trade_cost_fraction(costs.half_spread_bps, 0.0, 0.0)
        return cls(instruments[symbol], covariance, cost, settings.hedge_aversion * settings.hedge_horizon_bars)

    def target(self, values: Mapping[str, float], equity: float) -> float:
        """Value (signed, quote) the hedge should have, given positions of these values, its own among them. What is held while nothing is known."""
        symbol = self.instrument.symbol
        held, variance = values.get(symbol, 0.0), self.covariance.between(symbol, symbol)
        if not variance > 0 or not equity > 0:
            return held
        best = -sum(value * self.covariance.between(other, symbol) for other, value in sorted(values.items()) if other != symbol) / variance
        band = self.cost * equity / (self.weight * variance)
        return min(max(held, best - band), best + band)

    def lots(self, values: Mapping[str, float], close: float, equity: float) -> int:
        """Signed lots to trade at `close` (quote); 0 inside the band, or when it is worth less than the smallest order."""
        lot, change = float(self.instrument.lot), self.target(values, equity) - values.get(self.instrument.symbol, 0.0)
        size = lots_of(abs(change) / close, lot)
        if size * lot * close < float(self.instrument.min_notional):
            return 0
        return int(math.copysign(size, change))
