"""The accounting loop of the kernel, in plain Python that numba compiles.

The same events in the same order as a session with a simulated venue: settle at the open, mark at the close, size, judge. Every formula
is the desk's own (sizing, guards, fills, costs). Cash is kept in two floats, so that a million fills leave it as exact as Decimal does
and a floor in sizing can never fall the other way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.costs import fee
from desk.execution.fills import fill_lots, fill_ticks, ration
from desk.risk.guards import check, daily_loss_breached, drawdown_breached
from desk.strategy.sizing import order_lots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DAY_US = 86_400_000_000
_SPLITTER = 134_217_729.0  # 2**27 + 1, halves a 53-bit significand (Dekker 1971)


class Market(NamedTuple):
    """Open, close, volume [time, asset], NaN where there is no bar; `closed_at` [time] in microseconds since 1970 UTC."""

    open: Floats
    close: Floats
    volume: Floats
    closed_at: Ints


class Grid(NamedTuple):
    """Per asset: lot (base), tick and smallest order (quote), and the value of one tick on one lot in two floats (quote)."""

    lot: Floats
    tick: Floats
    min_notional: Floats
    value: Floats
    value_rest: Floats


class Rules(NamedTuple):
    """Account, costs and limits. `_rest` is what a float loses of the Decimal it stands for."""

    cash: float
    cash_rest: float
    share: float
    band: float
    half_spread_bps: float
    impact_bps: float
    participation_cap: float
    fee_rate: float
    fee_rate_rest: float
    max_position_weight: float
    max_gross_weight: float
    max_drawdown: float
    max_daily_loss: float


class Records(NamedTuple):
    """What the loop writes: equity [time], positions [time, asset] in base units, and as many rows of fills and refusals as `counts` says."""

    equity: Floats
    positions: Floats
    fill_row: NDArray[np.int32]
    fill_asset: NDArray[np.int32]
    fill_lots: Ints
    fill_ticks: Ints
    refusal_row: NDArray[np.int32]
    refusal_asset: NDArray[np.int32]
    refusal_guard: NDArray[np.int8]
    counts: Ints


class State(NamedTuple):
    """The book while the loop runs, per asset: position, waiting order (signed lots), last close; scratch for a round of buys; cash."""

    lots: Ints
    orders: Ints
    last_close: Floats
    wanted: Ints
    ticks: Ints
    unit_costs: Floats
    cash: Floats


class Marks(NamedTuple):
    """What the risk rules remember."""

    peak: float
    day_end_us: int
    day_first: float
    reducing: bool
    day_reducing: bool


def play(market: Market, targets: Floats, grid: Grid, rules: Rules, records: Records) -> None:
    """Play exposures `targets` [time, asset] (NaN: no order) through the market into `records`."""
    n_rows, n_assets = market.close.shape
    state = State(
        np.zeros(n_assets, np.int64),
        np.zeros(n_assets, np.int64),
        np.full(n_assets, np.nan),
        np.zeros(n_assets, np.int64),
        np.zeros(n_assets, np.int64),
        np.zeros(n_assets),
        np.array([rules.cash, rules.cash_rest]),
    )
    marks = Marks(-np.inf, -(2**62), 0.0, False, False)
    equity, waiting = rules.cash, False
    for row in range(n_rows):
        if has_bar(market, row):
            if waiting:
                settle(market, row, grid, rules, records, state)
            equity = mark(market, row, grid, state)
            marks = remember(marks, equity, market.closed_at[row], rules)
            waiting = decide(market, row, targets, grid, rules, state, equity)
            if waiting:
                waiting = judge(row, grid, rules, records, state, marks, equity)
        records.equity[row] = equity
        for asset in range(n_assets):
            records.positions[row, asset] = state.lots[asset] * grid.lot[asset]


def has_bar(market: Market, row: int) -> bool:
    """Whether anything traded: a row without a bar is no event, and orders wait on."""
    for asset in range(market.close.shape[1]):
        if not math.isnan(market.close[row, asset]):
            return True
    return False


def mark(market: Market, row: int, grid: Grid, state: State) -> float:
    """Equity at this close, in quote."""
    equity = state.cash[0]
    for asset in range(len(state.lots)):
        close = market.close[row, asset]
        if not math.isnan(close):
            state.last_close[asset] = close
        if state.lots[asset] != 0:
            equity += state.lots[asset] * grid.lot[asset] * state.last_close[asset]
    return equity


def remember(before: Marks, equity: float, closed_at_us: int, rules: Rules) -> Marks:
    """The marks after `equity` was seen. The drawdown latch never opens again, the daily one at the next UTC day."""
    new_day = closed_at_us >= before.day_end_us
    day_end_us = (closed_at_us // _DAY_US + 1) * _DAY_US if new_day else before.day_end_us
    peak = max(before.peak, equity)
    day_first = equity if new_day else before.day_first
    reducing = before.reducing or drawdown_breached(equity, peak, rules.max_drawdown)
    day_reducing = (before.day_reducing and not new_day) or daily_loss_breached(equity, day_first, rules.max_daily_loss)
    return Marks(peak, day_end_us, day_first, reducing, day_reducing)


def decide(market: Market, row: int, targets: Floats, grid: Grid, rules: Rules, state: State, equity: float) -> bool:
    """Write the wanted orders into the state; whether there are any."""
    any_order = False
    for asset in range(len(state.lots)):
        exposure, close = targets[row, asset], market.close[row, asset]
        state.orders[asset] = 0
        if not (math.isnan(exposure) or math.isnan(close)):
            held, lot, least = state.lots[asset], grid.lot[asset], grid.min_notional[asset]
            state.orders[asset] = order_lots(exposure * rules.share, held, equity, close, lot, least, rules.band)
            any_order |= state.orders[asset] != 0
    return any_order


def judge(row: int, grid: Grid, rules: Rules, records: Records, state: State, marks: Marks, equity: float) -> bool:
    """Strike out what the guards refuse, sells first; whether anything is left."""
    gross, any_left = 0.0, False
    for asset in range(len(state.lots)):
        if state.lots[asset] != 0:
            gross += abs(state.lots[asset]) * grid.lot[asset] * state.last_close[asset]
    for sign in (-1, 1):
        for asset in range(len(state.lots)):
            delta = state.orders[asset]
            if delta * sign <= 0:
                continue
            held, close, lot = state.lots[asset], state.last_close[asset], grid.lot[asset]
            latches, weights = (marks.reducing, marks.day_reducing), (rules.max_position_weight, rules.max_gross_weight)
            code = check(delta, held, close, lot, equity, gross, latches[0], latches[1], weights[0], weights[1])
            if code == 0:
                gross += (abs(held + delta) - abs(held)) * lot * close
                any_left = True
            else:
                state.orders[asset] = 0
                at = records.counts[1]
                records.refusal_row[at], records.refusal_asset[at], records.refusal_guard[at] = row, asset, code
                records.counts[1] = at + 1
    return any_left


def settle(market: Market, row: int, grid: Grid, rules: Rules, records: Records, state: State) -> None:
    """Execute what waits at this row's opens: sells, then the buys that the cash carries. What does not fill dies."""
    any_buy = False
    for asset in range(len(state.orders)):
        order = state.orders[asset]
        state.wanted[asset], state.unit_costs[asset] = 0, 0.0
        if order == 0 or math.isnan(market.close[row, asset]):
            continue
        volume, lot = market.volume[row, asset], grid.lot[asset]
        lots = fill_lots(abs(order), volume, lot, rules.participation_cap)
        if lots == 0:
            continue
        sign, tick = (1 if order > 0 else -1), grid.tick[asset]
        ticks = fill_ticks(market.open[row, asset], tick, sign, rules.half_spread_bps, rules.impact_bps, lots * lot / volume)
        if sign < 0:
            execute(row, asset, -lots, ticks, grid, rules, records, state)
        else:
            state.wanted[asset], state.ticks[asset] = lots, ticks
            state.unit_costs[asset] = ticks * tick * lot * (1.0 + rules.fee_rate)
            any_buy = True
    if any_buy:
        granted = ration(state.wanted, state.unit_costs, state.cash[0])
        for asset in range(len(granted)):
            if granted[asset] > 0:
                execute(row, asset, granted[asset], state.ticks[asset], grid, rules, records, state)


def execute(row: int, asset: int, lots: int, ticks: int, grid: Grid, rules: Rules, records: Records, state: State) -> None:
    """Book one fill of `lots` (signed) and write it down."""
    at = records.counts[0]
    records.fill_row[at], records.fill_asset[at], records.fill_lots[at], records.fill_ticks[at] = row, asset, lots, ticks
    records.counts[0] = at + 1
    state.lots[asset] += lots
    count, count_rest = exact_product(float(abs(lots)), float(ticks))
    notional, notional_rest = exact_product(count, grid.value[asset])
    notional_rest += count_rest * grid.value[asset] + count * grid.value_rest[asset]
    charge = fee(notional, rules.fee_rate)
    # What the float product above lost of the Decimal fee.
    charge_rest = exact_product(notional, rules.fee_rate)[1] + notional_rest * rules.fee_rate + notional * rules.fee_rate_rest
    sign = 1.0 if lots > 0 else -1.0
    add_to(state.cash, -sign * notional, -sign * notional_rest)
    add_to(state.cash, -charge, -charge_rest)


def exact_product(left: float, right: float) -> tuple[float, float]:
    """The rounded product of two floats and what the rounding lost (Dekker 1971, two-product)."""
    product = left * right
    shifted = _SPLITTER * left
    left_high = shifted - (shifted - left)
    shifted = _SPLITTER * right
    right_high = shifted - (shifted - right)
    left_low, right_low = left - left_high, right - right_high
    lost = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    return product, lost


def add_to(total: Floats, amount: float, rest: float) -> None:
    """Add an amount in two floats to a total in two floats, in place (Knuth 1969, two-sum). The first float is the nearest to the sum."""
    high = total[0] + amount
    part = high - total[0]
    low = (total[0] - (high - part)) + (amount - part) + total[1] + rest
    total[0] = high + low
    total[1] = low - (total[0] - high)
