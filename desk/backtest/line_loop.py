"""The loop for a single asset without gaps: the accounting of `desk.backtest.loop`, with nothing to look up and no bar touched that asks for nothing.

Between two trades only the close moves: those bars are marked many at a time, and the position, the cash and the marks stay in registers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from desk.backtest.loop import (
    AT_HAND,
    EXCESSES,
    FILLS,
    REFUSALS,
    TURNS_AHEAD,
    Account,
    Floats,
    Ints,
    Line,
    Marks,
    Rules,
    Run,
    conclude,
    fetch,
    paid,
    remember,
    tally,
    unmarked,
)
from desk.execution.fills import fill_lots, fill_ticks, ration_into
from desk.risk.guards import Stake, Standing, check
from desk.strategy.sizing import fixed_lots, order_lots

# The turn after the next: the next one's memory was asked a turn ago.
_ASKED = 1


class Stretch(NamedTuple):
    """Bars from `row` on, on which nothing is traded: the market, the equity to be written [time], cash (quote), position (base)."""

    line: Line
    curve: Floats
    row: int
    cash: float
    held: float


class Place(NamedTuple):
    """Where a decision is made: the row, the exposure asked for, the close and the equity (quote), the position in lots and in base units."""

    row: int
    exposure: float
    close: float
    equity: float
    lots: int
    held: float


def play_line(run: Run) -> None:
    """Play the exposures (NaN: no order) through the market into the records."""
    account, rules, curve, line, new_days = run.account, run.rules, run.equity, run.market.line, run.market.new_days
    holding, cash = account.book[0], (account.cash[0], account.cash[1])
    lot, value, marks = holding["lot"], (holding["value"], holding["value_rest"]), unmarked(new_days)
    row, told, lots, held, order = 0, 0, 0, 0.0, 0
    if rules.fixed_units > 0:
        find_turns(line)
    while row < len(curve):
        if order == 0:
            stretch = Stretch(line, curve, row, cash[0], held)
            row, marks = glide(stretch, quiet_until(stretch, min(len(curve), marks.next_day), rules), marks, new_days, rules)
            told = tally(curve, run.sums, told, row) if row - told >= AT_HAND else told
            if row >= len(curve):
                break
        else:
            deal = dealt(order, line.open[row], line.volume[row], account, (rules, cash[0]))
            if deal[0] != 0:
                cash, lots = paid(cash, deal, value, rules), lots + deal[0]
                held = lots * lot
                record(account, row, deal)
        equity = cash[0] + held * line.close[row]
        curve[row] = equity
        marks = remember(marks, equity, row, new_days, rules)
        order = ordered(Place(row, line.targets[row], line.close[row], equity, lots, held), account, marks, rules)
        row += 1
    holding["lots"], account.position[0] = lots, held
    account.cash[0], account.cash[1] = cash
    tally(curve, run.sums, told, len(curve))
    conclude(run, marks)


def ordered(place: Place, account: Account, marks: Marks, rules: Rules) -> int:
    """The order, in signed lots, that leads to an exposure, if no guard refuses it; 0 is none."""
    exposure, close, holding = place.exposure, place.close, account.book[0]
    lot, least = holding["lot"], holding["min_notional"]
    # Most bars ask for what is held, and are done with here.
    if math.isnan(exposure) or ((rules.fixed_units > 0 or exposure == 0) and exposure * rules.fixed_units == place.held):
        return 0
    if exposure > 1 or exposure < -1:
        account.counts[EXCESSES] += 1
    if rules.fixed_units > 0:
        order = fixed_lots(exposure * rules.fixed_units, place.lots, close, lot, least)
    else:
        order = order_lots(exposure * rules.share, place.lots, place.equity, close, lot, least, rules.band)
    if order == 0:
        return 0
    worth = place.held * close
    code = check(Stake(order, place.lots, close, lot), Standing(place.equity, abs(worth), worth, 0, marks.reducing, marks.day_reducing), rules.limits)
    if code == 0:
        return order
    refusal = account.refusals[account.counts[REFUSALS]]
    refusal["row"], refusal["asset"], refusal["guard"] = place.row, 0, code
    account.counts[REFUSALS] += 1
    return 0


def dealt(order: int, open_: float, volume: float, account: Account, means: tuple[Rules, float]) -> tuple[int, int]:
    """What a bar fills of an order, in signed lots, and at how many ticks. A buy goes as far as the cash."""
    (rules, cash), book = means, account.book
    holding = book[0]
    lot, tick, sign = holding["lot"], holding["tick"], (1 if order > 0 else -1)
    lots = fill_lots(abs(order), volume, lot, rules.participation_cap)
    if lots == 0:
        return 0, 0
    ticks = fill_ticks(open_, tick, sign, rules.half_spread_bps, rules.impact_bps, lots * lot / volume)
    unit_cost = ticks * tick * lot * (1.0 + rules.fee_rate)
    if sign > 0 and lots * unit_cost > cash:
        holding["wanted"], holding["unit_cost"] = lots, unit_cost
        ration_into(book["granted"], book["wanted"], book["unit_cost"], cash)
        lots = holding["granted"]
    return sign * lots, ticks


def record(account: Account, row: int, deal: tuple[int, int]) -> None:
    """Write a fill down."""
    fill = account.fills[account.counts[FILLS]]
    fill["row"], fill["asset"], fill["lots"], fill["ticks"] = row, 0, deal[0], deal[1]
    account.counts[FILLS] += 1


def find_turns(line: Line) -> None:
    """Write down where exposures turn into others."""
    bits, turns, found = line.bits, line.turns, 0
    for row in range(1, len(bits)):
        # Written at every row, and written over unless it turned: nothing to guess for the processor.
        turns[found] = row
        found += bits[row] != bits[row - 1]
    for never in range(found, found + TURNS_AHEAD):
        turns[never] = len(bits)


def quiet_until(stretch: Stretch, end: int, rules: Rules) -> int:
    """The first bar, before `end`, that may want an order."""
    line, first = stretch.line, stretch.row
    if rules.fixed_units > 0:
        return turning(line, first, end, rules.fixed_units, stretch.held)
    last = first + drifting(line.targets[first:end], line.close[first:end], stretch.cash, stretch.held, rules)
    fetch(line.open, last + 1)
    fetch(line.volume, last + 1)
    return last


def turning(line: Line, first: int, end: int, units: float, held: float) -> int:
    """The first bar from `first` on, before `end`, whose exposure, in units, is not what is `held` (base). NaN wants nothing."""
    targets, turns, turn, row = line.targets, line.turns, line.turn[0], first
    while turns[turn] <= first:
        turn += 1
    line.turn[0] = turn
    while row < end and not abs(targets[row] * units - held) > 0:
        row = turns[turn]
        turn += 1
    # Orders fill far away in memory, one by one: it is asked in time.
    ahead = turns[turn + _ASKED]
    fetch(targets, ahead)
    fetch(line.close, ahead)
    fetch(line.open, ahead + 1)
    fetch(line.volume, ahead + 1)
    return min(row, end)


def glide(stretch: Stretch, last: int, marks: Marks, new_days: Ints, rules: Rules) -> tuple[int, Marks]:
    """Mark the bars before `last`, that ask for nothing and do not begin a day. That bar, and the marks before it."""
    first = stretch.row
    curve = stretch.curve[first:last]
    if stretch.held == 0:
        # What is not held moves no mark: the last bar seen was worth as much.
        for bar in range(len(curve)):
            curve[bar] = stretch.cash
        return last, marks
    moved, fell = mark(stretch.line.close[first:last], curve, stretch.cash, stretch.held, marks)
    if moved > 0:
        for bar in range(len(curve)):
            marks = remember(marks, curve[bar], first + bar, new_days, rules)
    elif fell > 0:
        kept = min(marks.kept, lowest(curve) / marks.peak)
        marks = Marks(marks.peak, marks.floor, kept, marks.days, marks.next_day, marks.day_floor, marks.reducing, marks.day_reducing)
    return last, marks


def drifting(targets: Floats, closes: Floats, cash: float, held: float, rules: Rules) -> int:
    """How many bars pass before the first whose weight is as far from what is held as the band: the question that sizing asks, in the same words."""
    share, band = rules.share, rules.band
    for bar in range(len(targets)):
        exposure, worth = targets[bar], held * closes[bar]
        weight, equity = exposure * share, cash + worth
        if weight == 0:
            if held != 0:
                return bar
        elif not (equity > 0 and -1 <= exposure <= 1 and abs(weight - worth / equity) < band):
            return bar
    return len(targets)


def mark(closes: Floats, curve: Floats, cash: float, held: float, marks: Marks) -> tuple[int, int]:
    """Write the equity of each bar; how many of them may move a peak or a latch, and how many are the lowest since the peak."""
    # Counted, without a branch: many bars at once.
    peak, kept, moved, fell = marks.peak, marks.peak * marks.kept, 0, 0
    floor, day_floor = (-math.inf if marks.reducing else marks.floor), (-math.inf if marks.day_reducing else marks.day_floor)
    for bar in range(len(closes)):
        equity = cash + held * closes[bar]
        curve[bar] = equity
        moved += (equity > peak) | (equity <= floor) | (equity <= day_floor)
        fell += equity < kept
    return moved, fell


def lowest(curve: Floats) -> float:
    """The least of some marks, at least one."""
    # Two at a time: a minimum waits for the one before it.
    low = other = curve[0]
    for bar in range(1, len(curve) - 1, 2):
        low, other = min(low, curve[bar]), min(other, curve[bar + 1])
    least: float = min(low, other, curve[-1])
    return least
