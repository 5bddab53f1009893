"""The run that looks only where something changes, in plain Python that numba compiles.

Between two changes of the exposure nothing is decided, so nothing is asked of a bar: flat stretches cost nothing, of held ones the returns come out of
sums that all runs share, and the highest and lowest equity tell whether a limit was met. Where something is decided or filled, the desk's own formulas
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

# Bars whose lowest and highest close are looked up together: few, or many.
FEW, MANY = 16, 128
# Columns of `Tape.bars`: prices and volume, then the sums of `returned`.
OPEN, CLOSE, VOLUME, MOVES, SQUARES = 0, 1, 2, 3, 7
# The powers in the series of `returned`; what a move within a stretch, and one from it to the middle of all closes, may be worth of the equity; the
# least share of all squares so far that a stretch's may be, for the difference of two sums loses as much.
TERMS, NEAR, FAR, SEEN = 4, 0.004, 4.0, 1e-5
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
    """One asset's closes [time], its bars and their sums [time, 12], the highest of the closes and of their negatives of `FEW` and of `MANY` bars from
    each on [time, 2], the middle of all closes and how far they lie from it, and the rows at which a UTC day begins, then one that never comes.
    """

    close: Floats
    bars: Floats
    few: Floats
    many: Floats
    middle: float
    reach: float
    new_days: Ints


class Grid(NamedTuple):
    """The asset's lot (base), tick and smallest order (quote), and the value of one tick on one lot in two floats."""

    lot: float
    tick: float
    min_notional: float
    value: float
    value_rest: float


class Records(NamedTuple):
    """What a run writes: row, signed lots and price in ticks of each fill [fill]; scratch for a round of buys."""

    fills: Ints
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
    """The bars from `first` to `last`, on which cash (quote) and position (base) stay, and the lowest and the highest close among them."""

    first: int
    last: int
    cash: float
    held: float
    low: float
    high: float


class Sums(NamedTuple):
    """Of the returns of bars, and of their squares."""

    returns: float
    squares: float


def lay(tape: Tape, open_: Floats, volume: Floats) -> None:
    """Write down what is known of every stretch beforehand: all of `Tape.bars`, and both windows."""
    close, bars = tape.close, tape.bars
    bars[0, MOVES:] = 0.0
    for row in range(len(close)):
        bars[row, OPEN], bars[row, CLOSE], bars[row, VOLUME] = open_[row], close[row], volume[row]
        if row == 0:
            continue
        moved, away = close[row] - close[row - 1], close[row - 1] - tape.middle
        term = moved * moved
        for power in range(TERMS + 1):
            bars[row, SQUARES + power] = bars[row - 1, SQUARES + power] + term
            term *= away
        term = moved * away
        for power in range(TERMS):
            bars[row, MOVES + power] = bars[row - 1, MOVES + power] + term
            term *= away
    for row in range(len(close)):
        tape.few[row, 0], tape.few[row, 1] = -close[row], close[row]
    widen(tape.few, 1, FEW)
    for row in range(len(close)):
        tape.many[row, 0], tape.many[row, 1] = tape.few[row, 0], tape.few[row, 1]
    widen(tape.many, FEW, MANY)


def widen(highest: Floats, known: int, wanted: int) -> None:
    """Of so many bars from each on instead of fewer; at the end of as many as there are."""
    while known < wanted:
        for row in range(len(highest) - known):
            highest[row, 0] = max(highest[row, 0], highest[row + known, 0])
            highest[row, 1] = max(highest[row, 1], highest[row + known, 1])
        known *= 2


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
    tape, grid, rules, fills = course.tape, course.grid, course.rules, course.records.fills
    close, new_days, rows, exposures = tape.close, tape.new_days, changes.rows, changes.exposures
    memory, purse, sums = Memory(-math.inf, -math.inf, 1.0, 0, 0.0, False, False), Purse(course.cash[0], course.cash[1]), Sums(0.0, 0.0)
    row = change = lots = wanted = order = filled = 0
    units, held, cash, before, least = math.nan, 0.0, purse.total + purse.rest, math.nan, math.inf
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
                # This bar's sums, and all of the next: three times as much as comes at once.
                ahead, columns = rows[change + AHEAD], tape.bars.shape[1]
                fetch(tape.bars, ahead * columns + MOVES)
                fetch(tape.bars, (ahead + 1) * columns)
                fetch(tape.bars, (ahead + 1) * columns + SQUARES)
        if row > 0:
            moved = (cash + held * close[row]) / before - 1
            sums = Sums(sums.returns + moved, sums.squares + moved * moved)
        low = high = before = cash + held * close[last]
        stretch = Stretch(row, last, cash, held, close[last], close[last])
        if held != 0 and last > row:
            stretch = spread(tape, stretch)
            sums = returned(tape, stretch, sums)
            low, high = edges(stretch)
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
    tally[0], tally[1], tally[2], tally[3], tally[4], tally[5] = before, sums.returns, sums.squares, 1 - memory.kept, least, filled


def wanted_lots(units: float, lots: int, lot: float) -> int:
    """The signed lots that `units` (base) mean; with no opinion those that are held."""
    if math.isnan(units):
        return lots
    size = lots_of(abs(units), lot)
    return size if units > 0 else -size


def settle(course: Course, row: int, order: int, cash: float) -> tuple[int, int]:
    """What waits is executed at this row's open: signed lots and price in ticks. The words of `desk.backtest.loop.settle`, for one asset."""
    tape, grid, rules, records = course.tape, course.grid, course.rules, course.records
    bar = tape.bars[row]
    volume = bar[VOLUME]
    lots = fill_lots(abs(order), volume, grid.lot, rules.participation_cap)
    if lots == 0:
        return 0, 0
    sign, participation = (1 if order > 0 else -1), lots * grid.lot / volume
    ticks = fill_ticks(bar[OPEN], grid.tick, sign, rules.half_spread_bps, rules.impact_bps, participation)
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


def spread(tape: Tape, stretch: Stretch) -> Stretch:
    """A stretch with the lowest and the highest of its closes. The last window may overlap the one before."""
    first, last = stretch.first, stretch.last
    if last - first < FEW:
        low = high = tape.close[first]
        for row in range(first + 1, last + 1):
            low, high = min(low, tape.close[row]), max(high, tape.close[row])
        return Stretch(first, last, stretch.cash, stretch.held, low, high)
    step, windows = (MANY, tape.many) if last - first >= MANY else (FEW, tape.few)
    low, high = windows[last - step + 1, 0], windows[last - step + 1, 1]
    for row in range(first, last - step + 1, step):
        low, high = max(low, windows[row, 0]), max(high, windows[row, 1])
    return Stretch(first, last, stretch.cash, stretch.held, -low, high)


def edges(stretch: Stretch) -> tuple[float, float]:
    """The lowest and the highest equity of a stretch: rounding keeps the order of the closes."""
    one, other = stretch.cash + stretch.held * stretch.low, stretch.cash + stretch.held * stretch.high
    return min(one, other), max(one, other)


def returned(tape: Tape, stretch: Stretch, sums: Sums) -> Sums:
    """Add the returns of a stretch after its first bar.

    A return is w d / (1 + w z): the close moves by d, z away from the middle of the stretch, where the position weighs w in the equity. Its series has
    powers of -w z, those of its square (1 + k) times as much; z is the distance from the middle of all closes less `off` / w, and of that distance's
    powers times d the tape knows the sums since the beginning. Bar by bar where that would lose more than 1e-11.
    """
    first, last = tape.bars[stretch.first], tape.bars[stretch.last]
    middle = 0.5 * (stretch.low + stretch.high)
    weight = stretch.held / (stretch.cash + stretch.held * middle)
    near, far, seen = abs(weight) * (stretch.high - middle), abs(weight) * tape.reach, last[SQUARES] - first[SQUARES]
    if not (near <= NEAR and far <= FAR and seen >= SEEN * last[SQUARES]):
        return stepped(tape.close[stretch.first : stretch.last + 1], stretch, sums)
    # Before the sum of the j-th power stands (-w)^j times binomials: the sum over k from j to 4 of C(k, j) off^(k - j), for squares times 1 + k.
    off, power = weight * (middle - tape.middle), -weight
    moves = (1 + off * (1 + off * (1 + off * (1 + off)))) * (last[CLOSE] - first[CLOSE])
    squares = (1 + off * (2 + off * (3 + off * (4 + off * 5)))) * seen
    moves += power * (1 + off * (2 + off * (3 + off * 4))) * (last[MOVES] - first[MOVES])
    squares += power * (2 + off * (6 + off * (12 + off * 20))) * (last[SQUARES + 1] - first[SQUARES + 1])
    power *= -weight
    moves += power * (1 + off * (3 + off * 6)) * (last[MOVES + 1] - first[MOVES + 1])
    squares += power * (3 + off * (12 + off * 30)) * (last[SQUARES + 2] - first[SQUARES + 2])
    power *= -weight
    moves += power * (1 + off * 4) * (last[MOVES + 2] - first[MOVES + 2])
    squares += power * (4 + off * 20) * (last[SQUARES + 3] - first[SQUARES + 3])
    power *= -weight
    moves += power * (last[MOVES + 3] - first[MOVES + 3])
    squares += power * 5 * (last[SQUARES + 4] - first[SQUARES + 4])
    return Sums(sums.returns + weight * moves, sums.squares + weight * weight * squares)


def stepped(close: Floats, stretch: Stretch, sums: Sums) -> Sums:
    """As `returned`, from one bar to the next."""
    total, squares, cash, held = sums.returns, sums.squares, stretch.cash, stretch.held
    before, after = close[:-1], close[1:]
    for row in range(len(after)):
        moved = (cash + held * after[row]) / (cash + held * before[row]) - 1
        total += moved
        squares += moved * moved
    return Sums(total, squares)


def begin_days(tape: Tape, max_daily_loss: float, stretch: Stretch, low: float, before: Memory) -> Memory:
    """The memory of the day that is the last to begin in a stretch with that lowest equity."""
    days = before.days
    while tape.new_days[days] <= stretch.last:
        days += 1
    began = tape.new_days[days - 1]
    floor = daily_floor(stretch.cash + stretch.held * tape.close[began], max_daily_loss)
    # The lowest of the day is no lower than the lowest of all: mostly there is nothing to look for.
    lost = low <= floor and edges(spread(tape, Stretch(began, stretch.last, stretch.cash, stretch.held, low, low)))[0] <= floor
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
