"""Limits. Default deny: an order that no guard approves does not exist."""

from __future__ import annotations

from pydantic import Field

from configs.section import Section


class RiskSettings(Section):
    """Pre-trade limits. What brings a position closer to flat passes them all."""

    max_position_weight: float = Field(0.5, gt=0, description="largest position in one symbol, fraction of equity")
    max_gross_weight: float = Field(1.0, gt=0, description="largest sum of absolute positions, fraction of equity")
    max_drawdown: float = Field(0.35, gt=0, le=1, description="fall from the equity peak after which only reducing orders pass, fraction; latches")
    max_daily_loss: float = Field(0.15, gt=0, le=1, description="loss since the UTC day's first mark after which only reducing orders pass that day, fraction")
    max_net_weight: float = Field(5.0, gt=0, description="largest sum of signed positions, fraction of equity")
    max_concentration: float = Field(1.0, gt=0, le=1, description="largest share of one position in the sum of absolute positions, fraction; 1 is none")
    max_orders_per_minute: int = Field(600, ge=1, description="most orders of one minute of market time")
    price_collar: float = Field(0.0, ge=0, lt=1, description="largest distance of an order's price, or of the last close, from the close before; 0 is none")
    max_data_age_s: float = Field(0.0, ge=0, description="age in seconds from which a close is too old to open positions on, paper and live; 0 is none")
    max_expected_shortfall: float = Field(
        0.0, ge=0, lt=1, description="largest expected shortfall of all positions over one bar, fraction of equity; 0 is none"
    )
    shortfall_level: float = Field(0.975, gt=0.5, lt=1, description="probability beyond which losses count into the expected shortfall")
    covariance_bars: int = Field(60, ge=10, le=2000, description="centre of mass of the weights by which returns count into the covariance, bars")
    hedge_symbol: str = Field("", description="perpetual that hedges the book's beta; empty hedges nothing")
    hedge_aversion: float = Field(10.0, gt=0, description="relative risk aversion that weighs variance against the cost of hedging")
    hedge_horizon_bars: int = Field(24, ge=1, description="bars over which a hedge is expected to be held")

    @property
    def warmup_bars(self) -> int:
        """Bars before what is known of returns means anything."""
        return self.covariance_bars + 1 if self.max_expected_shortfall or self.hedge_symbol else 0

    @property
    def beyond_kernel(self) -> tuple[str, ...]:
        """Settings, as `name value`, that only a session carries out."""
        return (f"risk.hedge_symbol {self.hedge_symbol}",) if self.hedge_symbol else ()
