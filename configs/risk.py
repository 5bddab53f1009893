"""Limits. Default deny: an order that no guard approves does not exist."""

from __future__ import annotations

from pydantic import Field

from configs.section import Section


class RiskSettings(Section):
    """Pre-trade limits, checked in the order they are written here."""

    max_position_weight: float = Field(0.5, gt=0, description="largest position in one symbol, fraction of equity")
    max_gross_weight: float = Field(1.0, gt=0, description="largest sum of absolute positions, fraction of equity")
    max_drawdown: float = Field(0.35, gt=0, le=1, description="fall from the equity peak after which only reducing orders pass, fraction; latches")
    max_daily_loss: float = Field(0.15, gt=0, le=1, description="loss since the UTC day's first mark after which only reducing orders pass that day, fraction")
