"""Money, costs and how forecasts become positions."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from configs.section import Section


class CostSettings(Section):
    """What a trade costs. The cost the optimiser fears is the cost the simulator charges."""

    fee_rate: float = Field(0.001, ge=0, lt=0.1, description="taker fee, fraction of notional")
    half_spread_bps: float = Field(1.0, ge=0, description="half of the quoted spread, basis points of price")
    impact_bps: float = Field(10.0, ge=0, description="square-root impact at 100 % participation in a bar's volume, basis points")
    participation_cap: float = Field(0.1, gt=0, le=1, description="largest share of a bar's volume our fills may take, fraction")


class PolicySettings(Section):
    """From forecast to exposure: long when the forecast clears the costs, flat when it falls away."""

    entry: float = Field(0.15, ge=0, description="forecast mean / forecast sd above which exposure is taken")
    exit: float = Field(0.0, description="forecast mean / forecast sd below which exposure is given back")
    allow_short: bool = Field(False, description="whether exposure may be negative; spot venues cannot")


class TradingSettings(Section):
    """The account, the policy and the costs."""

    quote: str = Field("USDT", description="currency the account is kept in")
    initial_cash: Decimal = Field(Decimal(100000), gt=0, description="cash of a fresh backtest or paper account, in the quote currency")
    gross_weight: float = Field(0.95, gt=0, le=5, description="capital split over all symbols when every exposure is 1, fraction of equity")
    rebalance_band: float = Field(0.02, ge=0, lt=1, description="smallest change of a symbol's weight worth trading, fraction of equity")
    policy: PolicySettings = PolicySettings()
    costs: CostSettings = CostSettings()
    paper_bars: int = Field(120, ge=1, description="bars of one paper window")
