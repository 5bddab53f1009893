"""The accounting loop of the kernel, in plain Python that numba compiles.

The same events in the same order as a session with a simulated venue: settle at the open, mark at the close, size, judge. Every formula
is the desk's own (sizing, guards, fills, costs). Cash is kept in two floats, so that a million fills leave it as exact as Decimal does
and a floor in sizing can never fall the other way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.costs import fee
from desk.execution.fills import fill_lots, fill_ticks, ration
from desk.risk.guards import check, daily_loss_breached, drawdown_breached
from desk.strategy.sizing import order_lots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Book = NDArray[np.void]
Holding = Any  # one row of a book: a record to numba, np.void to Python

_DAY_US = 86_400_000_000
_SPLITTER = 134_217_729.0  # 2**27 + 1, halves a 53-bit significand (Dekker 1971)


# One row per asset: its grid (lot in base, tick and smallest order in quote, value of one tick on one lot in two floats), the position and
# the waiting order in signed lots, the last close, and scratch for a round of buys.
BOOK = np.dtype(
    [(name, np.float64) for name in ("lot", "tick", "min_notional", "value", "value_rest", "last_close", "unit_cost")]
    + [(name, np.int64) for name in ("lots", "order", "wanted", "ticks")]
)


class Market(NamedTuple):
    """Open, close, volume [time, asset], NaN where there is no bar; `closed_at` [time] in microseconds since 1970 UTC."""

    open: Floats
    close: Floats
    volume: Floats
    closed_at: Ints


class Rules(NamedTuple):
    """Costs and limits. `fee_rate_rest` is what the float loses of the Decimal it stands for."""

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
    """What the loop writes: equity [time], and as many fills (signed lots) and refusals as `counts` says. Positions follow from the fills."""

    equity: Floats
    fill_row: NDArray[np.int32]
    fill_asset: NDArray[np.int32]
    fill_lots: Ints
    fill_ticks: Ints
    refusal_row: NDArray[np.int32]
    refusal_asset: NDArray[np.int32]
    refusal_guard: NDArray[np.int8]
    counts: Ints


class Run(NamedTuple):
    """Everything one run reads and writes: `targets` [time, asset], `book` [asset] of dtype BOOK, `cash` in two floats (quote)."""

    market: Market
    targets: Floats
    book: Book
    cash: Floats
    rules: Rules
    records: Records


class Marks(NamedTuple):
    """What the risk rules remember."""

    peak: float
    day_end_us: int
    day_first: float
    reducing: bool
    day_reducing: bool


def play(run: Run) -> None:
    """Play the exposures (NaN: no order) through the market into the records."""
    # Taken out of their tuples once: every access in the loop would count references.
    close, targets, book, cash, rules = run.market.close, run.targets, run.book, run.cash, run.rules
    closed_at, curve = run.market.closed_at, run.records.equity
    marks = Marks(-np.inf, -(2**62), 0.0, False, False)
    waiting = False
    for row in range(len(close)):
        if waiting and has_bar(close, row):
            settle(run, row)
            waiting = False
        equity, traded = mark(close, row, book, cash)
        curve[row] = equity
        if not traded:
            continue
        marks = remember(marks, equity, closed_at[row], rules)
        for asset in range(len(book)):
            order = wish(targets[row, asset], close[row, asset], book[asset], rules, equity)
            book[asset]["order"] = order
            waiting = waiting or order != 0
        if waiting:
            waiting = judge(run, row, marks, equity)


def has_bar(close: Floats, row: int) -> bool:
    """Whether anything traded: a row without a bar is no event, and orders wait on."""
    for asset in range(close.shape[1]):  # noqa: SIM110 - numba compiles no generators into any()
        if not math.isnan(close[row, asset]):
            return True
    return False


def mark(close: Floats, row: int, book: Book, cash: Floats) -> tuple[float, bool]:
    """Equity at this close, in quote, and whether anything traded; remembers the closes."""
    equity, traded = cash[0], False
    for asset in range(len(book)):
        price = close[row, asset]
        if math.isnan(price):
            price = book[asset]["last_close"]
        else:
            book[asset]["last_close"] = price
            traded = True
        if book[asset]["lots"] != 0:
            equity += book[asset]["lots"] * book[asset]["lot"] * price
    return equity, traded


def remember(before: Marks, equity: float, closed_at_us: int, rules: Rules) -> Marks:
    """The marks after `equity` was seen. The drawdown latch never opens again, the daily one at the next UTC day."""
    new_day = closed_at_us >= before.day_end_us
    day_end_us = (closed_at_us // _DAY_US + 1) * _DAY_US if new_day else before.day_end_us
    peak = max(before.peak, equity)
    day_first = equity if new_day else before.day_first
    reducing = before.reducing or drawdown_breached(equity, peak, rules.max_drawdown)
    day_reducing = (before.day_reducing and not new_day) or daily_loss_breached(equity, day_first, rules.max_daily_loss)
    return Marks(peak, day_end_us, day_first, reducing, day_reducing)


def wish(exposure: float, close: float, holding: Holding, rules: Rules, equity: float) -> int:
    """The order, in signed lots, that leads to an exposure. None without a bar or an opinion."""
    if math.isnan(exposure) or math.isnan(close):
        return 0
    return order_lots(exposure * rules.share, holding["lots"], equity, close, holding["lot"], holding["min_notional"], rules.band)


def judge(run: Run, row: int, marks: Marks, equity: float) -> bool:
    """Strike out what the guards refuse, sells first; whether anything is left."""
    book, limits, gross, any_left = run.book, run.rules, 0.0, False
    for asset in range(len(book)):
        if book[asset]["lots"] != 0:
            gross += abs(book[asset]["lots"]) * book[asset]["lot"] * book[asset]["last_close"]
    for sign in (-1, 1):
        for asset in range(len(book)):
            delta, held = book[asset]["order"], book[asset]["lots"]
            if delta * sign <= 0:
                continue
            close, lot = book[asset]["last_close"], book[asset]["lot"]
            code = check(delta, held, close, lot, equity, gross, marks.reducing, marks.day_reducing, limits.max_position_weight, limits.max_gross_weight)
            if code == 0:
                gross += (abs(held + delta) - abs(held)) * lot * close
                any_left = True
            else:
                book[asset]["order"] = 0
                record_refusal(run.records, row, asset, code)
    return any_left


def record_refusal(records: Records, row: int, asset: int, code: int) -> None:
    """Write down that a guard said no."""
    at = records.counts[1]
    records.refusal_row[at], records.refusal_asset[at], records.refusal_guard[at] = row, asset, code
    records.counts[1] = at + 1


def settle(run: Run, row: int) -> None:
    """Execute what waits at this row's opens: sells, then the buys that the cash carries. What does not fill dies."""
    book, rules, any_buy = run.book, run.rules, False
    for asset in range(len(book)):
        order, lot, tick = book[asset]["order"], book[asset]["lot"], book[asset]["tick"]
        book[asset]["wanted"] = 0
        if order == 0 or math.isnan(run.market.close[row, asset]):
            continue
        volume = run.market.volume[row, asset]
        lots = fill_lots(abs(order), volume, lot, rules.participation_cap)
        if lots == 0:
            continue
        sign = 1 if order > 0 else -1
        ticks = fill_ticks(run.market.open[row, asset], tick, sign, rules.half_spread_bps, rules.impact_bps, lots * lot / volume)
        if sign < 0:
            execute(run, row, asset, -lots, ticks)
        else:
            book[asset]["wanted"], book[asset]["ticks"] = lots, ticks
            book[asset]["unit_cost"] = ticks * tick * lot * (1.0 + rules.fee_rate)
            any_buy = True
    if any_buy:
        granted = ration(book["wanted"], book["unit_cost"], run.cash[0])
        for asset in range(len(book)):
            if granted[asset] > 0:
                execute(run, row, asset, granted[asset], book[asset]["ticks"])


def execute(run: Run, row: int, asset: int, lots: int, ticks: int) -> None:
    """Book one fill of `lots` (signed) and write it down."""
    records, holding, rules = run.records, run.book[asset], run.rules
    at = records.counts[0]
    records.fill_row[at], records.fill_asset[at], records.fill_lots[at], records.fill_ticks[at] = row, asset, lots, ticks
    records.counts[0] = at + 1
    holding["lots"] += lots
    steps, steps_rest = exact_product(float(abs(lots)), float(ticks))
    notional, notional_rest = exact_product(steps, holding["value"])
    notional_rest += steps_rest * holding["value"] + steps * holding["value_rest"]
    charge = fee(notional, rules.fee_rate)
    # What the float product above lost of the Decimal fee.
    charge_rest = exact_product(notional, rules.fee_rate)[1] + notional_rest * rules.fee_rate + notional * rules.fee_rate_rest
    sign = 1.0 if lots > 0 else -1.0
    add_to(run.cash, -sign * notional, -sign * notional_rest)
    add_to(run.cash, -charge, -charge_rest)


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
