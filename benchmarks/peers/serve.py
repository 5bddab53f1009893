"""The other backtesters, asked over a pipe: one JSON line in, `{"peer", "arrays"}`, one JSON line out. Runs in the peer's environment.

The time is taken in here, around the peer's own run alone: bars and signals are at hand in the form it wants. 10 bps of fee, 5 bps of slippage where
it knows any, cash 1e7. `fills` leaves out what a peer sells at the end for being open.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CASH, FEE, SLIPPAGE = 1e7, 0.001, 0.0005
STOP, GAIN = 0.005, 0.01


@cache
def market(path: str) -> dict[str, Any]:
    """Arrays [time, asset] of a workload, and the exposures one bar later."""
    arrays = dict(np.load(path))
    held = np.vstack([np.zeros((1, arrays["exposure"].shape[1])), arrays["exposure"][:-1]])
    return {**arrays, "held": held}


def vectorbt(arrays: dict[str, Any], engine: str) -> Callable[[], tuple[float, int]]:
    """Final value, drawdown, Sharpe ratio and number of orders: what our call returns at least."""
    import pandas as pd
    import vectorbt as vbt

    vbt.settings["engine"] = engine
    index = pd.date_range("2022-01-01", periods=len(arrays["close"]), freq="1min")
    close, price, size = (pd.DataFrame(arrays[name], index=index) for name in ("close", "open", "held"))
    # Nothing is ordered where nothing changes, as in the bound.
    size = size.where(size.diff().fillna(size) != 0)

    def play() -> tuple[float, int]:
        folio = vbt.Portfolio.from_orders(
            close, size, size_type="targetamount", price=price, fees=FEE, slippage=SLIPPAGE, init_cash=CASH, cash_sharing=True, group_by=True, freq="1min"
        )
        folio.max_drawdown()
        folio.sharpe_ratio()
        return float(folio.final_value()), int(folio.orders.count())

    return play


def raptorbt(arrays: dict[str, Any], kind: str) -> Callable[[], tuple[float, int]]:
    """All its metrics, single asset; it sizes all-in, so only its cost compares."""
    import raptorbt as peer

    columns = [np.ascontiguousarray(arrays[name][:, 0]) for name in ("open", "high", "low", "close", "volume")]
    change = np.diff(arrays["held"][:, 0], prepend=0.0)
    enters, leaves = change > 0, change < 0
    stamps = np.arange(len(change), dtype=np.int64) * 60_000_000_000
    config = peer.BacktestConfig(initial_capital=CASH, fees=FEE, slippage=SLIPPAGE)
    if kind == "stops":
        config.set_fixed_stop(STOP)
        config.set_fixed_target(GAIN)

    def play() -> tuple[float, int]:
        result = peer.run_single_backtest(stamps, *columns, enters, leaves, config=config)
        return float(result.equity_curve()[-1]), int(result.metrics.total_trades + result.metrics.total_closed_trades)

    return play


def vectorbt_stops(arrays: dict[str, Any], engine: str) -> Callable[[], tuple[float, int]]:
    """As `vectorbt`, one unit a trade, left at a loss of .5 % or a gain of 1 % within the bar."""
    import pandas as pd
    import vectorbt as vbt

    vbt.settings["engine"] = engine
    index = pd.date_range("2022-01-01", periods=len(arrays["close"]), freq="1min")
    columns = {name: pd.Series(arrays[name][:, 0], index=index) for name in ("open", "high", "low", "close")}
    change = np.diff(arrays["held"][:, 0], prepend=0.0)
    enters, leaves = pd.Series(change > 0, index=index), pd.Series(change < 0, index=index)
    stops = {"sl_stop": STOP, "tp_stop": GAIN, "stop_entry_price": "price", "freq": "1min"}

    def play() -> tuple[float, int]:
        folio = vbt.Portfolio.from_signals(
            **columns, entries=enters, exits=leaves, price=columns["open"], size=1.0, fees=FEE, slippage=SLIPPAGE, init_cash=CASH, **stops
        )
        folio.max_drawdown()
        folio.sharpe_ratio()
        return float(folio.final_value()), int(folio.orders.count())

    return play


def raptorbt_stops(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """As `raptorbt`, with both stops."""
    return raptorbt(arrays, "stops")


def crossings(arrays: dict[str, Any]) -> np.ndarray:
    """Whether one unit is held [point, time] at the open of each bar: where the mean of the last `fast` closes stood above that of the last `slow`."""
    close, held = arrays["close"][:, 0], np.zeros((len(arrays["fast"]), len(arrays["close"])), np.bool_)
    sums = np.concatenate([[0.0], np.cumsum(close)])
    for point, (fast, slow) in enumerate(zip(arrays["fast"], arrays["slow"], strict=True)):
        above = (sums[slow:] - sums[slow - fast : len(sums) - fast]) * slow > (sums[slow:] - sums[: len(sums) - slow]) * fast
        held[point, slow:] = above[:-1]
    return held


def vectorbt_sweep(arrays: dict[str, Any], engine: str) -> Callable[[], tuple[float, int]]:
    """Every point of a grid in one call, signals among it: final value, drawdown, Sharpe ratio and number of orders."""
    import pandas as pd
    import vectorbt as vbt

    vbt.settings["engine"] = engine
    index = pd.date_range("2022-01-01", periods=len(arrays["close"]), freq="1min")
    close, price = (pd.Series(arrays[name][:, 0], index=index) for name in ("close", "open"))

    def play() -> tuple[float, int]:
        held = np.ascontiguousarray(crossings(arrays).T, np.float64)
        held[1:][held[1:] == held[:-1]] = np.nan
        size = pd.DataFrame(held, index=index)
        folio = vbt.Portfolio.from_orders(close, size, size_type="targetamount", price=price, fees=FEE, slippage=SLIPPAGE, init_cash=CASH, freq="1min")
        folio.max_drawdown()
        folio.sharpe_ratio()
        return float(folio.final_value().sum()), int(folio.orders.count().sum())

    return play


def raptorbt_sweep(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """Every point of a grid in one call, on all cores, signals among it; it sizes all-in, so only its cost compares."""
    import raptorbt as peer

    columns = [np.ascontiguousarray(arrays[name][:, 0]) for name in ("open", "high", "low", "close", "volume")]
    stamps = np.arange(len(columns[0]), dtype=np.int64) * 60_000_000_000
    config = peer.BacktestConfig(initial_capital=CASH, fees=FEE, slippage=SLIPPAGE)

    def play() -> tuple[float, int]:
        held = crossings(arrays)
        before = np.zeros_like(held)
        before[:, 1:] = held[:, :-1]
        enters, leaves = held & ~before, before & ~held
        items = [peer.BatchSingleItem(str(number), *pair) for number, pair in enumerate(zip(enters, leaves, strict=True))]
        results = peer.batch_single_backtest(stamps, *columns, items, config)
        return sum(float(result.metrics.total_return_pct) for _, result in results), sum(2 * int(result.metrics.total_trades) for _, result in results)

    return play


def backtesting(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """backtesting.py, one unit a trade, exposures as an indicator."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    names = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
    frame = pd.DataFrame(
        {name: arrays[column][:, 0] for name, column in names.items()}, index=pd.date_range("2022-01-01", periods=len(arrays["close"]), freq="1min")
    )
    wanted, open_at_end = arrays["exposure"][:, 0], int(arrays["held"][-1, 0])

    class Flips(Strategy):
        def init(self) -> None:
            self.wanted = self.I(lambda: wanted)

        def next(self) -> None:
            if self.wanted[-1] and not self.position:
                self.buy(size=1)
            elif not self.wanted[-1] and self.position:
                self.position.close()

    test = Backtest(frame, Flips, cash=CASH, commission=FEE, spread=SLIPPAGE, finalize_trades=True)

    def play() -> tuple[float, int]:
        found = test.run()
        return float(found["Equity Final [$]"]), 2 * int(found["# Trades"]) - open_at_end

    return play


def backtrader(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """backtrader with its own broker, one unit a trade. It reads its feed in its run: the faster of its two for frames."""
    import backtrader as bt
    import pandas as pd

    frame = pd.DataFrame(
        {name: arrays[name][:, 0] for name in ("open", "high", "low", "close", "volume")},
        index=pd.date_range("2022-01-01", periods=len(arrays["close"]), freq="1min"),
    )
    wanted = arrays["exposure"][:, 0].tolist()

    class Flips(bt.Strategy):  # type: ignore[misc]
        fills = 0

        def next(self) -> None:
            want = wanted[len(self) - 1]
            if want and not self.position:
                self.buy(size=1)
            elif not want and self.position:
                self.close()

        def notify_order(self, order: Any) -> None:
            self.fills += order.status == order.Completed

    def play() -> tuple[float, int]:
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(bt.feeds.PandasDirectData(dataname=frame, openinterest=-1))
        cerebro.addstrategy(Flips)
        cerebro.broker.setcash(CASH)
        cerebro.broker.setcommission(FEE)
        cerebro.broker.set_slippage_perc(SLIPPAGE)
        fills = int(cerebro.run()[0].fills)
        return float(cerebro.broker.getvalue()), fills

    return play


def nautilus(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """nautilus_trader, one unit a trade."""
    import with_nautilus

    return with_nautilus.prepare(arrays, CASH, FEE)


def nautilus_stops(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """As `nautilus`, with brackets."""
    import with_nautilus

    return with_nautilus.prepare(arrays, CASH, FEE, (-STOP, GAIN))


def freqtrade(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """freqtrade, one stake a trade, any number of pairs."""
    import with_freqtrade

    return with_freqtrade.prepare(arrays, CASH, FEE)


def freqtrade_stops(arrays: dict[str, Any], _: str) -> Callable[[], tuple[float, int]]:
    """As `freqtrade`, with its stop loss and its return on investment."""
    import with_freqtrade

    return with_freqtrade.prepare(arrays, CASH, FEE, (-STOP, GAIN))


PEERS = {
    "vectorbt": vectorbt,
    "raptorbt": raptorbt,
    "vectorbt_stops": vectorbt_stops,
    "vectorbt_sweep": vectorbt_sweep,
    "raptorbt_stops": raptorbt_stops,
    "raptorbt_sweep": raptorbt_sweep,
    "backtesting": backtesting,
    "backtrader": backtrader,
    "nautilus": nautilus,
    "nautilus_stops": nautilus_stops,
    "freqtrade": freqtrade,
    "freqtrade_stops": freqtrade_stops,
}


@cache
def prepared(peer: str, path: str) -> Callable[[], tuple[float, int]]:
    """The call to be timed, data at hand and compiled."""
    name, _, engine = peer.partition(":")
    return PEERS[name](market(path), engine or "auto")


def main() -> None:
    """Answer until the pipe closes. Whatever a peer prints goes to the other stream."""
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        play = prepared(asked["peer"], asked["arrays"])
        # What the run before left in cycles would cost this one its memory.
        gc.collect()
        began, worked = time.perf_counter(), time.process_time()
        equity, fills = play()
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        # Not getrusage: its peak begins with that of the process that started this one.
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024
        answers.write(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "equity": equity, "fills": fills, "peak_mib": peak}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
