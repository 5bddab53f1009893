"""What is traded and where its data comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from configs.section import Section
from configs.vocabulary import Timeframe, VenueName


class PracticeSettings(Section):
    """The practice exchange: an exchange on loopback that speaks Binance spot's wire."""

    seed: int = Field(7, ge=0, description="seed of the synthetic market; same seed, same bars")
    symbols: tuple[str, ...] = Field(("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT"), min_length=1, description="symbols of the synthetic market")
    timeframe: Timeframe = Field(Timeframe.H1, description="bar length of the synthetic market")
    start: AwareDatetime = Field(datetime(2023, 1, 1, tzinfo=UTC), description="first bar of the synthetic market, UTC")
    history_bars: int = Field(6000, ge=200, description="synthetic bars that lie in the past when the exchange opens")
    stream_bars: int = Field(4000, ge=1, description="synthetic bars that can still be streamed")
    stream_share: float = Field(0.05, gt=0, lt=0.5, description="share of recorded candles kept back to be streamed, fraction of bars")
    port: int = Field(0, ge=0, le=65535, description="port of the practice exchange; 0 takes a free one")
    scenario: Literal["depeg"] | None = Field(None, description="what befalls the synthetic market; depeg: USDC/USDT falls to 0.88 and returns")


class MarketSettings(Section):
    """Venue, symbols, bar length and how data is fetched."""

    venue: VenueName = Field(VenueName.PRACTICE, description="which exchange market data comes from")
    symbols: tuple[str, ...] | None = Field(None, description="symbols to trade: BASE/QUOTE, contracts BASE/QUOTE:QUOTE; null takes every coin the venue lists")
    timeframe: Timeframe | None = Field(None, description="bar length; null takes the practice exchange's own")
    fallbacks: tuple[Literal["kraken", "coinbase"], ...] = Field((), description="who is asked for bars when the venue is gone, in this order")
    practice: PracticeSettings = PracticeSettings()
