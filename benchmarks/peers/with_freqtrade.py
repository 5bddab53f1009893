"""freqtrade's own Backtesting on the exposures. Imported by serve.py in .venv-freqtrade.

The exchange's markets are told instead of asked for, candles are handed over instead of read, the progress bar is off, nothing is exported. It sizes
by stake and knows no slippage, so its cost compares, not its money.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import CandleType, RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.optimize.optimize_reports import generate_backtest_stats

FOLDER = Path(__file__).resolve().parent
# About one unit: the market begins at 100.
STAKE = 100.0


def settings(pairs: list[str], cash: float, fee: float, stops: tuple[float, float] | None) -> dict[str, Any]:
    """What a user's file would say."""
    told: dict[str, Any] = {
        "runmode": RunMode.BACKTEST,
        "dry_run": True,
        "dry_run_wallet": cash,
        "stake_currency": "USDT",
        "stake_amount": STAKE,
        "max_open_trades": len(pairs),
        "fee": fee,
        "timeframe": "1m",
        "trading_mode": "spot",
        "candle_type_def": CandleType.SPOT,
        "exchange": {"name": "binance", "pair_whitelist": pairs, "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "other"},
        "exit_pricing": {"price_side": "other"},
        "order_types": {"entry": "market", "exit": "market", "stoploss": "market", "stoploss_on_exchange": False},
        "strategy": "Flips",
        "strategy_path": str(FOLDER / "strategies"),
        "user_data_dir": FOLDER,
        "datadir": FOLDER,
        "dataformat_ohlcv": "feather",
        "export": "none",
        "original_config": {},
    }
    return told if stops is None else {**told, "stoploss": stops[0], "minimal_roi": {"0": stops[1]}}


def exchange(told: dict[str, Any]) -> Exchange:
    """Knows its markets, so that it asks nobody."""
    found = Exchange(told, validate=False)
    free = {"min": None, "max": None}
    same = {"quote": "USDT", "active": True, "spot": True, "type": "spot"}
    rules = {"precision": {"amount": 1e-8, "price": 1e-6}, "limits": {"amount": free, "cost": free, "price": free}}
    found._markets = {pair: {"symbol": pair, "base": pair.partition("/")[0], **same, **rules} for pair in told["exchange"]["pair_whitelist"]}
    return found


def prepare(arrays: dict[str, Any], cash: float, fee: float, stops: tuple[float, float] | None = None) -> Callable[[], tuple[float, int]]:
    """Its run and its statistics, without loading, storing and printing."""
    bars, assets = arrays["close"].shape
    pairs = [f"S{asset:02}/USDT" for asset in range(assets)]
    told = settings(pairs, cash, fee, stops)
    test = Backtesting(told, exchange(told))
    test.progress = None
    dates = pd.date_range("2022-01-01", periods=bars, freq="1min", tz="UTC")
    changes = np.diff(arrays["exposure"], axis=0, prepend=0.0)
    columns = {name: arrays[name] for name in ("open", "high", "low", "close", "volume")} | {"change": changes}
    frames = {pair: pd.DataFrame({"date": dates} | {name: column[:, asset] for name, column in columns.items()}) for asset, pair in enumerate(pairs)}
    strategy = test.strategylist[0]

    def play() -> tuple[float, int]:
        first, last = test.backtest_one_strategy(strategy, frames, TimeRange())
        found = generate_backtest_stats(frames, test.all_bt_content, first, last)["strategy"]["Flips"]
        # What is open at the end is sold, which nobody asked for.
        forced = sum(trade["exit_reason"] == "force_exit" for trade in found["trades"])
        return float(found["final_balance"]), 2 * int(found["total_trades"]) - forced

    return play
