"""The run that looks only where something changes, in plain Python that numba compiles.

Between two changes of the exposure nothing is decided, so nothing is asked of a bar: flat stretches cost nothing, held ones are marked and compared
several bars at a time, and the highest and lowest equity tell whether a limit was met. Where something is decided or filled, the desk's own formulas
decide, as in `desk.backtest.loop`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.backtest.loop import Rules, exact_product, fetch
from desk.costs import fee
from desk.execution.fills import fill_lots, fill_ticks, ration_into
from desk.instruments import lots_of
from desk.risk.guards import Stake, Standing, check, daily_floor, drawdown_floor
from desk.strategy.sizing import fixed_lots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Bars whose lowest and highest close are looked up together.
WINDOW = 16
# Changes ahead whose fills memory is asked for.
AHEAD = 4


class Changes(NamedTuple):
    """Exposures of one asset, told where they change: from the bar `rows[k]` on (ascending) `exposures[k]` in [-1, 1] is wanted.

    NaN, as before the first: no opinion.
    """

    rows: Ints
    exposures: Floats

    @classmethod
    def of(cls, targets: Floats) -> Changes:
        """From exposures at every bar [time] or [time, 1]."""
        wishes = np.ascontiguousarray(targets, dtype=np.float64).reshape(-1)
        # Bits, so that a NaN is no change after a NaN.
        bits = wishes.view(np.int64)
        rows = np.flatnonzero(np.concatenate([[True], bits[1:] != bits[:-1]]))
        return cls(rows, wishes[rows])

    def targets(self, bars: int) -> Floats:
        """Exposures at every bar [time, 1]."""
        before = np.full(self.rows[0] if len(self.rows) else bars, np.nan)
        return np.concatenate([before, np.repeat(self.exposures, np.diff(self.rows, append=bars))])[:, None]


class Batch(NamedTuple):
    """The changes of several runs, one after the other; those of run `k` end before `ends[k]`."""

    rows: Ints
    exposures: Floats
    ends: Ints


class Tape(NamedTuple):
    """One asset's bars [time], the lowest and the highest of `WINDOW` closes from each bar on [time, 2], and the rows at which a UTC day begins, then one
    that never comes.
    """

    open: Floats
    close: Floats
    volume: Floats
    windows: Floats
    new_days: Ints


class Grid(NamedTuple):
    """The asset's lot (base), tick and smallest order (quote), and the value of one tick on one lot in two floats."""

    lot: float
    tick: float
    min_notional: float
    value: float
    value_rest: float


class Records(NamedTuple):
    """What a run writes: row, signed lots and price in ticks of each fill [fill]; the last marks of equity, without those that repeat one; scratch for a
    round of buys.
    """

    fills: Ints
    marks: Floats
    granted: Ints
    wanted: Ints
    unit_cost: Floats


class Course(NamedTuple):
    """Everything one thread's runs read and write. `cash` at the start, in two floats (quote)."""

    tape: Tape
    grid: Grid
    rules: Rules
    cash: Floats
    records: Records


class Purse(NamedTuple):
    """Cash in two floats (quote), whose sum it is: what one fill pays waits for little of what the one before it paid."""

    total: float
    rest: float


class Memory(NamedTuple):
    """What the risk rules remember, as `desk.backtest.loop.Marks`."""

    peak: float
    floor: float
    kept: float
    days: int
    day_floor: float
    reducing: bool
    day_reducing: bool


class Stretch(NamedTuple):
    """The bars from `first` to `last`, on which cash (quote) and position (base) stay."""

    first: int
    last: int
    cash: float
    held: float


def skip_all(course: Course, batch: Batch, tallies: Floats) -> None:
    """Play one run after the other, each from the beginning, into its tally [run, 6]."""
    first = 0
    for number in range(len(batch.ends)):
        last = batch.ends[number]
        skip(course, Changes(batch.rows[first:last], batch.exposures[first:last]), tallies[number])
        first = last


def skip(course: Course, changes: Changes, tally: Floats) -> None:
    """Play changes into the records.

    The tally: final equity, sum of returns, of their squares, largest share of a peak that was lost, lowest equity, how many fills.
    """
    tape, grid, rules, fills, marks = course.tape, course.grid, course.rules, course.records.fills, course.records.marks
    close, new_days, rows, exposures = tape.close, tape.new_days, changes.rows, changes.exposures
    memory, purse = Memory(-math.inf, -math.inf, 1.0, 0, 0.0, False, False), Purse(course.cash[0], course.cash[1])
    row = change = lots = wanted = order = filled = marked = 0
    units, held, cash, before, least = math.nan, 0.0, purse.total + purse.rest, math.nan, math.inf
    tally[:] = 0.0
    while row < len(close):
        if order != 0:
            done, ticks = settle(course, row, order, cash)
            order = 0
            if done != 0:
                fills[filled, 0], fills[filled, 1], fills[filled, 2] = row, done, ticks
                purse, lots, filled = book(grid, rules, purse, done, ticks), lots + done, filled + 1
                cash, held = purse.total + purse.rest, lots * grid.lot
        last = row
        if wanted == lots:
            last = rows[change] if change < len(rows) else len(close) - 1
            if change + AHEAD < len(rows):
                ahead = rows[change + AHEAD] + 1
                fetch(tape.open, ahead)
                fetch(tape.volume, ahead)
                fetch(close, ahead)
        stretch = Stretch(row, last, cash, held)
        marked = mark(close, stretch, marks, marked, tally)
        low = high = before = cash + held * close[last]
        if held != 0 and last > row:
            low, high = edges(close, tape.windows, stretch)
        memory = climb(close, rules.max_drawdown, stretch, memory) if high > memory.peak else fall(memory, low)
        if last >= new_days[memory.days]:
            memory = begin_days(tape, rules.max_daily_loss, stretch, low, memory)
        least = min(low, least)
        if change < len(rows) and rows[change] == last:
            units = exposures[change] * rules.fixed_units
            wanted = wanted_lots(units, lots, grid.lot)
            change += 1
        if wanted != lots:
            order = fixed_lots(units, lots, close[last], grid.lot, grid.min_notional)
            standing = Standing(before, abs(held) * close[last], held * close[last], 0, memory.reducing, memory.day_reducing)
            if order != 0 and check(Stake(order, lots, close[last], grid.lot), standing, rules.limits) != 0:
                order = 0
        row = last + 1
    add_returns(marks, marked, tally)
    tally[0], tally[3], tally[4], tally[5] = before, 1 - memory.kept, least, filled


def wanted_lots(units: float, lots: int, lot: float) -> int:
    """The signed lots that `units` (base) mean; with no opinion those that are held."""
    if math.isnan(units):
        return lots
    size = lots_of(abs(units), lot)
    return size if units > 0 else -size


def settle(course: Course, row: int, order: int, cash: float) -> tuple[int, int]:
    """What waits is executed at this row's open: signed lots and price in ticks. The words of `desk.backtest.loop.settle`, for one asset."""
    tape, grid, rules, records = course.tape, course.grid, course.rules, course.records
    volume = tape.volume[row]
    lots = fill_lots(abs(order), volume, grid.lot, rules.participation_cap)
    if lots == 0:
        return 0, 0
    sign, participation = (1 if order > 0 else -1), lots * grid.lot / volume
    ticks = fill_ticks(tape.open[row], grid.tick, sign, rules.half_spread_bps, rules.impact_bps, participation)
    if sign > 0:
        unit_cost = ticks * grid.tick * grid.lot * (1.0 + rules.fee_rate)
        if lots * unit_cost > cash:
            records.wanted[0], records.unit_cost[0] = lots, unit_cost
            ration_into(records.granted, records.wanted, records.unit_cost, cash)
            lots = records.granted[0]
    return sign * lots, ticks


def book(grid: Grid, rules: Rules, purse: Purse, lots: int, ticks: int) -> Purse:
    """Pay for one fill. The words of `desk.backtest.loop.execute`."""
    steps, steps_rest = exact_product(float(abs(lots)), float(ticks))
    notional, notional_rest = exact_product(steps, grid.value)
    notional_rest += steps_rest * grid.value + steps * grid.value_rest
    charge = fee(notional, rules.fee_rate)
    charge_rest = exact_product(notional, rules.fee_rate)[1] + notional_rest * rules.fee_rate + notional * rules.fee_rate_rest
    sign = 1.0 if lots > 0 else -1.0
    return paid(paid(purse, sign * notional, sign * notional_rest), charge, charge_rest)


def paid(purse: Purse, amount: float, rest: float) -> Purse:
    """What is left after an amount in two floats (Knuth 1969, two-sum)."""
    left = purse.total - amount
    part = left - purse.total
    lost = (purse.total - (left - part)) - (amount + part)
    return Purse(left, purse.rest + (lost - rest))


def mark(close: Floats, stretch: Stretch, marks: Floats, marked: int, tally: Floats) -> int:
    """Mark a stretch; how many marks wait for `add_returns` then. A flat one returns nothing: marked once."""
    row, count = stretch.first, stretch.last + 1 - stretch.first if stretch.held != 0 else 1
    if marked + count > len(marks):
        return write_parts(close, stretch, marks, marked, tally)
    write(close[row : row + count], marks[marked : marked + count], stretch.cash, stretch.held)
    return marked + count


def write_parts(close: Floats, stretch: Stretch, marks: Floats, marked: int, tally: Floats) -> int:
    """As `mark`, where there is no room for all."""
    row, end = stretch.first, stretch.last + 1 if stretch.held != 0 else stretch.first + 1
    while row < end:
        if marked == len(marks):
            marked = add_returns(marks, marked, tally)
        count = min(end - row, len(marks) - marked)
        write(close[row : row + count], marks[marked : marked + count], stretch.cash, stretch.held)
        row, marked = row + count, marked + count
    return marked


def write(close: Floats, marks: Floats, cash: float, held: float) -> None:
    """The equity at each of some closes."""
    for row in range(len(close)):
        marks[row] = cash + held * close[row]


def add_returns(marks: Floats, marked: int, tally: Floats) -> int:
    """Add the returns between marks and their squares to the tally; the last mark is the first of the next ones.

    Dividing takes longest, so that two returns share one division.
    """
    count, total, squares = marked - 1, 0.0, 0.0
    half = count // 2
    first, second, third, fourth = marks[:half], marks[1 : half + 1], marks[half : 2 * half], marks[half + 1 : 2 * half + 1]
    for row in range(half):
        inverse = 1.0 / (first[row] * third[row])
        one, other = gained(first[row], second[row], inverse * third[row]), gained(third[row], fourth[row], inverse * first[row])
        total += one + other
        squares += one * one + other * other
    if 2 * half < count:
        one = gained(marks[count - 1], marks[count], 1.0 / marks[count - 1])
        total += one
        squares += one * one
    tally[1] += total
    tally[2] += squares
    marks[0] = marks[count]
    return 1


def gained(before: float, after: float, inverse: float) -> float:
    """after / before - 1, given 1 / before. Rounded as that is, but for a few in a million: which the additions say in this order and in no other."""
    return (1.0 + (after - before) * inverse) - 1.0


def edges(close: Floats, windows: Floats, stretch: Stretch) -> tuple[float, float]:
    """The lowest and the highest equity of a stretch: rounding keeps the order of the closes. The last window may overlap the one before."""
    first, last = stretch.first, stretch.last
    if last - first < WINDOW:
        low = high = close[first]
        for row in range(first + 1, last + 1):
            low, high = min(low, close[row]), max(high, close[row])
    else:
        low, high = windows[last - WINDOW + 1, 0], windows[last - WINDOW + 1, 1]
        for row in range(first, last - WINDOW + 1, WINDOW):
            low, high = min(low, windows[row, 0]), max(high, windows[row, 1])
    one, other = stretch.cash + stretch.held * low, stretch.cash + stretch.held * high
    return min(one, other), max(one, other)


def begin_days(tape: Tape, max_daily_loss: float, stretch: Stretch, low: float, before: Memory) -> Memory:
    """The memory of the day that is the last to begin in a stretch with that lowest equity."""
    days = before.days
    while tape.new_days[days] <= stretch.last:
        days += 1
    began = tape.new_days[days - 1]
    floor = daily_floor(stretch.cash + stretch.held * tape.close[began], max_daily_loss)
    # The lowest of the day is no lower than the lowest of all: mostly there is nothing to look for.
    lost = low <= floor and edges(tape.close, tape.windows, Stretch(began, stretch.last, stretch.cash, stretch.held))[0] <= floor
    return Memory(before.peak, before.floor, before.kept, days, floor, before.reducing, lost)


def fall(before: Memory, low: float) -> Memory:
    """The memory after a stretch without a new peak. Nothing here for the processor to guess: what it knows late, it would guess wrong late."""
    kept, reducing = min(low / before.peak, before.kept), before.reducing | (low <= before.floor)
    day_reducing = before.day_reducing | (low <= before.day_floor)
    return Memory(before.peak, before.floor, kept, before.days, before.day_floor, reducing, day_reducing)


def climb(close: Floats, max_drawdown: float, stretch: Stretch, before: Memory) -> Memory:
    """The memory after a stretch with a new peak: bar by bar, for what counts is the fall after each. As `desk.backtest.loop.remember`."""
    peak, floor, kept, reducing, day_reducing = before.peak, before.floor, before.kept, before.reducing, before.day_reducing
    for row in range(stretch.first, (stretch.last if stretch.held != 0 else stretch.first) + 1):
        equity = stretch.cash + stretch.held * close[row]
        if equity > peak:
            peak, floor = equity, drawdown_floor(equity, max_drawdown)
        elif equity < peak * kept:
            kept = equity / peak
        reducing, day_reducing = reducing or equity <= floor, day_reducing or equity <= before.day_floor
    return Memory(peak, floor, kept, before.days, before.day_floor, reducing, day_reducing)
