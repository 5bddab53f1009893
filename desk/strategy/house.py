"""The strategies that settings can name."""

from __future__ import annotations

from configs.trading import TradingSettings
from configs.vocabulary import Construction
from desk.strategy.band import BandPolicy
from desk.strategy.construction import PortfolioConstruction
from desk.strategy.ensemble import Ensemble
from desk.strategy.policy import Strategy


def house_strategy(trading: TradingSettings) -> Strategy:
    """The strategy of `policy.construction`; one costs what `costs` say where it weighs costs."""
    settings = trading.policy
    if settings.construction is not Construction.ENSEMBLE:
        return _made(settings.construction, trading)
    members = {member.value: _made(member, trading) for member in settings.members}
    return Ensemble(members, settings.shares, covariance_bars=settings.covariance_bars)


def _made(construction: Construction, trading: TradingSettings) -> Strategy:
    return BandPolicy(trading.policy) if construction is Construction.BAND else PortfolioConstruction(construction, trading.policy, trading.costs)
