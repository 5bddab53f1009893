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
Rows = NDArray[np.void]  # structured: one record per asset, fill or refusal
Holding = Any  # one row of a book: a record to numba, np.void to Python

_DAY_US = 86_400_000_000
_SPLITTER = 134_217_729.0  # 2**27 + 1, halves a 53-bit significand (Dekker 1971)


# One row per asset: its grid (lot in base, tick and smallest order in quote, value of one tick on one lot in two floats), the position and
# the waiting order in signed lots, the last close, and scratch for a round of buys.
BOOK = np.dtype(
    [(name, np.float64) for name in ("lot", "tick", "min_notional", "value", "value_rest", "last_close", "unit_cost")]
    + [(name, np.int64) for name in ("lots", "order", "wanted", "ticks")]
)


# A fill: where and when (row, asset), signed lots, price in ticks. A refusal: where and when, code of the guard.
FILL = np.dtype([("row", np.int32), ("asset", np.int32), ("lots", np.int64), ("ticks", np.int64)])
REFUSAL = np.dtype([("row", np.int32), ("asset", np.int32), ("guard", np.int64)])


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


class Run(NamedTuple):
    """Everything one run reads and writes.

    Read: `open`, `close`, `volume` [time, asset], NaN where there is no bar, `closed_at` [time] in microseconds since 1970 UTC, exposures
    `targets` [time, asset]. Carried: `book` [asset], `cash` in two floats (quote). Written: `equity` [time] in quote, and as many `fills` and
    `refusals` as `counts` says.
    """

    open: Floats
    close: Floats
    volume: Floats
    closed_at: Ints
    targets: Floats
    book: Rows
    cash: Floats
    rules: Rules
    equity: Floats
    fills: Rows
    refusals: Rows
    counts: Ints


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
    close, targets, book, cash, rules = run.close, run.targets, run.book, run.cash, run.rules
    closed_at, curve = run.closed_at, run.equity
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


def mark(close: Floats, row: int, book: Rows, cash: Floats) -> tuple[float, bool]:
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
                refusal = run.refusals[run.counts[1]]
                refusal["row"], refusal["asset"], refusal["guard"] = row, asset, code
                run.counts[1] += 1
    return any_left


def settle(run: Run, row: int) -> None:
    """Execute what waits at this row's opens: sells, then the buys that the cash carries. What does not fill dies."""
    book, rules, close, volume, total = run.book, run.rules, run.close, run.volume, 0.0
    for asset in range(len(book)):
        order, lot, tick = book[asset]["order"], book[asset]["lot"], book[asset]["tick"]
        book[asset]["wanted"], book[asset]["unit_cost"] = 0, 0.0
        if order == 0 or math.isnan(close[row, asset]):
            continue
        lots = fill_lots(abs(order), volume[row, asset], lot, rules.participation_cap)
        if lots == 0:
            continue
        sign, participation = (1 if order > 0 else -1), lots * lot / volume[row, asset]
        ticks = fill_ticks(run.open[row, asset], tick, sign, rules.half_spread_bps, rules.impact_bps, participation)
        if sign < 0:
            execute(run, row, asset, -lots, ticks)
        else:
            unit_cost = ticks * tick * lot * (1.0 + rules.fee_rate)
            book[asset]["wanted"], book[asset]["ticks"], book[asset]["unit_cost"] = lots, ticks, unit_cost
            total += lots * unit_cost
    if total > 0:
        buy(run, row, total)


def buy(run: Run, row: int, total: float) -> None:
    """Execute the buys of this row, which together would cost `total` (quote)."""
    book = run.book
    # Where the cash carries all, everyone gets all: no need to ask.
    if not total <= run.cash[0]:
        granted = ration(book["wanted"], book["unit_cost"], run.cash[0])
        for asset in range(len(book)):
            book[asset]["wanted"] = granted[asset]
    for asset in range(len(book)):
        if book[asset]["wanted"] > 0:
            execute(run, row, asset, book[asset]["wanted"], book[asset]["ticks"])


def execute(run: Run, row: int, asset: int, lots: int, ticks: int) -> None:
    """Book one fill of `lots` (signed) and write it down."""
    holding, rules, fill = run.book[asset], run.rules, run.fills[run.counts[0]]
    fill["row"], fill["asset"], fill["lots"], fill["ticks"] = row, asset, lots, ticks
    run.counts[0] += 1
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
