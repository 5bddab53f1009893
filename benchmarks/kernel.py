"""What guards, partial fills, grids and exact cash cost: the kernel's public call against a bare accounting loop on the same million bars (W1).

Prints two JSON lines: an account that needs nothing else, and one that trades a contract with funding, a stop and a gain (the maker's fee), orders
carried over bars, impact, and every guard that is no sum over many assets. The peer is the least that tells the same story: hold one unit or none, trade
at the next open at a constant cost, mark at the close, keep the curve, the fills, the drawdown and the Sharpe ratio. Both compiled, both make what they
return, same process, alternating, arrays laid out in several places; medians are told, and the ratio of a pair's times. It is compared with what was
stored on this processor: a tenth more fails. `--store` stores it anew; `--more .2` plays a fifth of the bars twice, to see it fail.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numba
import numpy as np
from _baseline import in_turn, slower, store, stored, words
from _peers import workload

from configs.risk import RiskSettings
from configs.trading import CostSettings, PerpetualSettings, TradingSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
from desk.backtest.result import Result

GOAL_RATIO, GOAL_RATIO_WIDE = 1.5, 2.5
BARS = 1_000_000
# In each place in memory.
ROUNDS = 11
COSTS = CostSettings(fee_rate=0.001, half_spread_bps=5.0, impact_bps=0.0, participation_cap=1.0)
LIMITS = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=1, max_daily_loss=1)
ACCOUNT = TradingSettings(initial_cash=10_000_000, fixed_units=1.0)
COSTS_WIDE = CostSettings(fee_rate=0.001, maker_share=0.5, half_spread_bps=5.0, impact_bps=1.0, participation_cap=0.1)
LIMITS_WIDE = RiskSettings(max_position_weight=10, max_gross_weight=10, max_drawdown=0.9, max_daily_loss=0.5, price_collar=0.2)
ACCOUNT_WIDE = TradingSettings(
    initial_cash=10_000_000, fixed_units=1.0, carry_partials=True, protective_stop=0.05, take_profit=0.05, perpetual=PerpetualSettings(funding_rate=0.0001)
)


@dataclass(frozen=True)
class Account:
    """What one row plays, and how many times the bare loop's time it may take."""

    name: str
    goal: float
    symbols: tuple[str, ...]
    costs: CostSettings
    limits: RiskSettings
    trading: TradingSettings


ACCOUNTS = (
    Account("kernel.million_bars", GOAL_RATIO, ("S00/USDT",), COSTS, LIMITS, ACCOUNT),
    Account("kernel.million_bars_wide", GOAL_RATIO_WIDE, ("S00/USDT:USDT",), COSTS_WIDE, LIMITS_WIDE, ACCOUNT_WIDE),
)


@numba.njit(nogil=True, error_model="numpy")
def _bare(open_: Any, close: Any, exposure: Any, cash: float) -> Any:
    """Equity, bar and units of each fill, the largest drawdown, and the Sharpe ratio per bar."""
    curve, bar, units = np.empty(len(close)), np.empty(len(close), np.int32), np.empty(len(close))
    held = wanted = peak = worst = total = squares = 0.0
    before, count = cash, 0
    for row in range(len(close)):
        if wanted != held:
            delta = wanted - held
            price = open_[row] * (1 + (0.0005 if delta > 0 else -0.0005))
            cash -= delta * price + abs(delta) * price * 0.001
            held = wanted
            bar[count], units[count] = row, delta
            count += 1
        equity = cash + held * close[row]
        curve[row] = equity
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
        moved = equity / before - 1
        total += moved
        squares += moved * moved
        before = equity
        wanted = exposure[row]
    mean = total / len(close)
    return curve, bar[:count], units[:count], worst, mean / np.sqrt(squares / len(close) - mean * mean)


class Market:
    """The workload in memory of its own, the bare loop on it, and an account in the kernel, which plays a share of the bars a second time."""

    def __init__(self, panel: Panel, exposure: Any, account: Account, more: float) -> None:
        panel = replace(panel, symbols=account.symbols)
        self.account, self.panel, self.exposure = account, copied(panel, BARS), exposure.copy()
        self.columns = [array[:, 0].copy() for array in (panel.open, panel.close, exposure)]
        self.again = int(BARS * more)
        self.short, self.wishes = copied(panel, max(self.again, 1)), exposure[: self.again].copy()

    def bare(self) -> Any:
        """The least."""
        return _bare(*self.columns, float(ACCOUNT.initial_cash))

    def play(self) -> Result:
        """Ours."""
        account = self.account
        if self.again:
            simulate(self.short, self.wishes, account.costs, account.limits, trading=account.trading)
        return simulate(self.panel, self.exposure, account.costs, account.limits, trading=account.trading)


def copied(panel: Panel, bars: int) -> Panel:
    """The first bars of a panel elsewhere in memory."""
    return replace(panel, **{name: getattr(panel, name)[:bars].copy() for name in ("times", "open", "high", "low", "close", "volume")})


def measure(account: Account, make: Callable[[], Market], before: dict[str, float]) -> tuple[bool, float]:
    """Both in turn; one line. Whether the goal is met and nothing was lost, and the ratio."""
    name, goal, market = account.name, account.goal, make()
    began = time.perf_counter()
    filled = len(market.play().fills)
    first_call_s = time.perf_counter() - began

    def laid_out() -> tuple[Callable[[], Any], Callable[[], Any]]:
        elsewhere = make()
        return elsewhere.play, elsewhere.bare

    (ours, peer), ratio = in_turn(laid_out, ROUNDS, name, before)
    result, plain = market.play(), market.bare()
    lost = slower(name, ratio, before)
    # The goal is against the bare loop where it is fastest: it suffers more from a bad place than ours.
    strict = statistics.median(ours) / min(statistics.median(peer[first : first + ROUNDS]) for first in range(0, len(peer), ROUNDS))
    line = {
        "name": name,
        "value": round(statistics.median(ours) * 1e3, 2),
        "unit": "ms",
        "peer": "bare numba accounting loop",
        "peer_value": round(statistics.median(peer) * 1e3, 2),
        "ratio": round(ratio, 3),
        "ratio_to_fastest": round(strict, 3),
        "goal": goal,
        "stored": before.get(name),
        "lost": lost,
        "met": strict <= goal and not lost,
        "fills": filled,
        "equity_apart": abs(float(result.equity[-1] / plain[0][-1]) - 1),
        "first_call_s": round(first_call_s, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)
    return strict <= goal and not lost, ratio


def main() -> int:
    """Measure and print; 1 when a goal is missed, or a row takes more than what was stored allows."""
    asked = words("the kernel against a bare accounting loop", "share of the bars that the kernel plays a second time, to see it fail")
    panel, exposure = workload(BARS, 1)
    before = {} if asked.store else stored(asked.baseline)
    found = {account.name: measure(account, partial(Market, panel, exposure, account, asked.more), before) for account in ACCOUNTS}
    if asked.store:
        store({name: round(ratio, 3) for name, (_, ratio) in found.items()}, asked.baseline)
    return 0 if all(met for met, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
