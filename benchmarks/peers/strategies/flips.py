"""The exposures as a freqtrade strategy; freqtrade loads it by its name. The frame brings the changes along."""

from __future__ import annotations

from freqtrade.strategy import IStrategy
from pandas import DataFrame


class Flips(IStrategy):  # type: ignore[misc]
    """In where the exposure rises, out where it falls; neither stop nor target."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    stoploss = -0.99
    minimal_roi = {}  # noqa: RUF012 - freqtrade's own way

    def populate_indicators(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        dataframe["enter_long"] = (dataframe["change"] > 0).astype(int)
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        dataframe["exit_long"] = (dataframe["change"] < 0).astype(int)
        return dataframe
