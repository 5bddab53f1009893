"""Sweeps that look only where something changes: for rules whose sizes do not depend on what they earned (`trading.fixed_units`).

Between two changes of the exposure nothing is decided, so nothing is asked of a bar: flat stretches cost nothing, held ones are summed several bars at a
time, and the highest and lowest equity tell whether a limit was met. Where something is decided or filled, the desk's own formulas decide, as in
`desk.backtest.loop`. What this path does not know is played by the loop; tests/backtest/test_skipping.py holds both equal.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled
from desk.backtest.kernel import simulate
from desk.backtest.loop import Rules, add_to, exact_product
from desk.backtest.panel import Floats, Panel
from desk.backtest.stage import Stage
from desk.costs import fee
from desk.errors import ContractBroken
from desk.execution.fills import fill_lots, fill_ticks, ration_into
from desk.instruments import Instrument, lots_of
from desk.risk.guards import Stake, Standing, check, daily_floor, drawdown_floor
from desk.strategy.sizing import fixed_lots

Ints = NDArray[np.int64]

# What is left of a variance by rounding alone, as a share of the sum of squares (as in desk.backtest.summary).
_ROUNDING = 1e-14
# Compiled besides what the loop is made of. Sums may be added in any order, several at a time.
_COMPILED = {
    "call_up": (),
    "wanted_lots": (),
    "settle": (),
    "book": (),
    "worth": (),
    "held_over": ("nsz", "reassoc"),
    "lowest": (),
    "climb": (),
    "remember": (),
}


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


class Tape(NamedTuple):
    """One asset's bars [time], and the rows at which a UTC day begins, then one that never comes.

    `bits`: the closes as integers. Those of positive floats are ordered as the floats are, and the largest of many is found several at a time; written to
    `found`, they are prices again in `prices`, which is the same memory.
    """

    open: Floats
    close: Floats
    volume: Floats
    new_days: Ints
    bits: Ints
    found: Ints
    prices: Floats


class Grid(NamedTuple):
    """The asset's lot (base), tick and smallest order (quote), and the value of one tick on one lot in two floats."""

    lot: float
    tick: float
    min_notional: float
    value: float
    value_rest: float


class Records(NamedTuple):
    """What a run writes: cash in two floats (quote); row, signed lots and price in ticks of each fill [fill]; scratch for a round of buys; `tally`.

    The tally: final equity, sum of returns, of their squares, largest share of a peak that was lost, lowest equity, how many fills.
    """

    cash: Floats
    fills: Ints
    granted: Ints
    wanted: Ints
    unit_cost: Floats
    tally: Floats


class Course(NamedTuple):
    """Everything one thread's runs read and write."""

    tape: Tape
    grid: Grid
    rules: Rules
    records: Records


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


def skip(course: Course, changes: Changes) -> None:
    """Play changes into the records."""
    tape, grid, rules, records = course
    close, cash, tally, rows, exposures = tape.close, records.cash, records.tally, changes.rows, changes.exposures
    call_up(tape, rows)
    memory = Memory(-math.inf, -math.inf, 1.0, 0, 0.0, False, False)
    row = change = lots = wanted = order = 0
    units, held, before, least = math.nan, 0.0, math.nan, math.inf
    while row < len(close):
        if order != 0:
            lots += settle(course, row, order)
            held, order = lots * grid.lot, 0
        last = row
        if wanted == lots:
            last = rows[change] if change < len(rows) else len(close) - 1
        stretch = Stretch(row, last, cash[0], held)
        low = high = cash[0] + held * close[row]
        if row > 0:
            moved = low / before - 1
            tally[1] += moved
            tally[2] += moved * moved
        if held != 0 and last > row:
            low, high = held_over(tape, stretch, tally)
        before = cash[0] + held * close[last]
        memory = remember(tape, rules, stretch, (low, high), memory)
        least = low if low < least else least
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
    tally[0], tally[3], tally[4] = before, 1 - memory.kept, least


def call_up(tape: Tape, rows: Ints) -> None:
    """Read what the fills will ask for, one independent of the other: waiting for memory fill by fill takes as long as everything else."""
    sum_ = 0.0
    for number in range(len(rows)):
        row = min(rows[number] + 1, len(tape.open) - 1)
        sum_ += tape.open[row] + tape.volume[row]
    tape.prices[0] = sum_


def wanted_lots(units: float, lots: int, lot: float) -> int:
    """The signed lots that `units` (base) mean; with no opinion those that are held."""
    if math.isnan(units):
        return lots
    size = lots_of(abs(units), lot)
    return size if units > 0 else -size


def settle(course: Course, row: int, order: int) -> int:
    """Execute what waits at this row's open; the signed lots that were filled. The words of `desk.backtest.loop.settle`, for one asset."""
    tape, grid, rules, records = course
    volume = tape.volume[row]
    lots = fill_lots(abs(order), volume, grid.lot, rules.participation_cap)
    if lots == 0:
        return 0
    sign, participation = (1 if order > 0 else -1), lots * grid.lot / volume
    ticks = fill_ticks(tape.open[row], grid.tick, sign, rules.half_spread_bps, rules.impact_bps, participation)
    if sign > 0:
        unit_cost = ticks * grid.tick * grid.lot * (1.0 + rules.fee_rate)
        if lots * unit_cost > records.cash[0]:
            records.wanted[0], records.unit_cost[0] = lots, unit_cost
            ration_into(records.granted, records.wanted, records.unit_cost, records.cash[0])
            lots = records.granted[0]
    if lots > 0:
        book(course, row, sign * lots, ticks)
    return sign * lots


def book(course: Course, row: int, lots: int, ticks: int) -> None:
    """Pay for one fill, and write it down. The words of `desk.backtest.loop.execute`."""
    _, grid, rules, records = course
    fill, cash = records.fills[int(records.tally[5])], records.cash
    fill[0], fill[1], fill[2] = row, lots, ticks
    records.tally[5] += 1
    steps, steps_rest = exact_product(float(abs(lots)), float(ticks))
    notional, notional_rest = exact_product(steps, grid.value)
    notional_rest += steps_rest * grid.value + steps * grid.value_rest
    charge = fee(notional, rules.fee_rate)
    charge_rest = exact_product(notional, rules.fee_rate)[1] + notional_rest * rules.fee_rate + notional * rules.fee_rate_rest
    sign = 1.0 if lots > 0 else -1.0
    add_to(cash, -sign * notional, -sign * notional_rest)
    add_to(cash, -charge, -charge_rest)


def held_over(tape: Tape, stretch: Stretch, tally: Floats) -> tuple[float, float]:
    """Add the returns of a stretch's bars after the first, a position being held; its lowest and highest equity."""
    cash, held, first, last = stretch.cash, stretch.held, stretch.first, stretch.last
    here, there, bits = tape.close[first + 1 : last + 1], tape.close[first:last], tape.bits[first + 1 : last + 1]
    total = squares = 0.0
    low = high = tape.bits[first]
    for row in range(len(here)):
        moved = (cash + held * here[row]) / (cash + held * there[row]) - 1
        total += moved
        squares += moved * moved
        low, high = min(low, bits[row]), max(high, bits[row])
    tally[1] += total
    tally[2] += squares
    return worth(tape, stretch, low, high)


def lowest(tape: Tape, stretch: Stretch) -> float:
    """The lowest equity of a stretch."""
    bits = tape.bits
    low = high = bits[stretch.first]
    for row in range(stretch.first, stretch.last + 1):
        low, high = min(low, bits[row]), max(high, bits[row])
    return worth(tape, stretch, low, high)[0]


def worth(tape: Tape, stretch: Stretch, low: int, high: int) -> tuple[float, float]:
    """The lowest and the highest equity, from the bits of the lowest and the highest close: rounding keeps the order."""
    tape.found[0], tape.found[1] = low, high
    one, other = stretch.cash + stretch.held * tape.prices[0], stretch.cash + stretch.held * tape.prices[1]
    return min(one, other), max(one, other)


def remember(tape: Tape, rules: Rules, stretch: Stretch, edges: tuple[float, float], before: Memory) -> Memory:
    """The memory after a stretch with that lowest and highest equity: what `desk.backtest.loop.remember` makes of its bars, one after the other."""
    (low, high), days, day_floor, day_reducing, began = edges, before.days, before.day_floor, before.day_reducing, -1
    while tape.new_days[days] <= stretch.last:
        began = tape.new_days[days]
        days += 1
    if began >= 0:
        day_floor = daily_floor(stretch.cash + stretch.held * tape.close[began], rules.max_daily_loss)
        # The lowest of the day is no lower than the lowest of all: mostly there is nothing to look for.
        day_reducing = low <= day_floor and lowest(tape, Stretch(began, stretch.last, stretch.cash, stretch.held)) <= day_floor
    else:
        day_reducing = day_reducing or low <= day_floor
    if high > before.peak:
        peak, floor, kept, reducing = climb(tape.close, rules.max_drawdown, stretch, before)
        return Memory(peak, floor, kept, days, day_floor, reducing, day_reducing)
    kept = low / before.peak if low < before.peak * before.kept else before.kept
    return Memory(before.peak, before.floor, kept, days, day_floor, before.reducing or low <= before.floor, day_reducing)


def climb(close: Floats, max_drawdown: float, stretch: Stretch, before: Memory) -> tuple[float, float, float, bool]:
    """Peak, floor, kept and latch after a stretch with a new peak: bar by bar, for what counts is the fall after each."""
    peak, floor, kept, reducing = before.peak, before.floor, before.kept, before.reducing
    for row in range(stretch.first, (stretch.last if stretch.held != 0 else stretch.first) + 1):
        equity = stretch.cash + stretch.held * close[row]
        if equity > peak:
            peak, floor = equity, drawdown_floor(equity, max_drawdown)
        elif equity < peak * kept:
            kept = equity / peak
        reducing = reducing or equity <= floor
    return peak, floor, kept, reducing


def course_of(stage: Stage) -> Course:
    """Lay out a stage's first asset. Room for the most fills that can happen: untouched room takes no memory."""
    bars, holding, found = stage.bars, stage.book[0], np.zeros(2, np.int64)
    open_, close, volume = (np.ascontiguousarray(array[:, 0], dtype=np.float64) for array in (bars.open, bars.close, bars.volume))
    return Course(
        Tape(open_, close, volume, bars.new_days, close.view(np.int64), found, found.view(np.float64)),
        Grid(*(float(holding[name]) for name in Grid._fields)),
        stage.rules,
        Records(stage.cash.copy(), np.empty((len(close), 3), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1), np.zeros(6)),
    )


def play(stage: Stage, course: Course, changes: Changes) -> None:
    """One run from the stage's cash, into the course's records."""
    if (np.abs(changes.exposures) > 1).any():
        raise ContractBroken(f"expected exposures in [-1, 1], found {np.nanmax(np.abs(changes.exposures))}: correct the strategy")
    course.records.cash[:], course.records.tally[:] = stage.cash, 0.0
    compiled_skip()(course, changes)


def sweep(
    bars: Panel,
    targets_of: Callable[..., Floats | Changes],
    grid: Mapping[str, Sequence[Any]],
    costs: CostSettings,
    limits: RiskSettings,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    trading: TradingSettings | None = None,
    threads: int = 1,
) -> pl.DataFrame:
    """As `desk.backtest.kernel.sweep`, and the same table; fast where only changes have to be visited, as `path_free` says.

    `targets_of` may answer with `Changes`, which is faster still: no exposure is written for a bar on which it stays.
    """
    account, names, points = trading or TradingSettings(), tuple(grid), list(product(*grid.values()))
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=account)
    free = path_free(stage)

    def some(part: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        course, rows = course_of(stage), []
        for values in part:
            wishes = targets_of(bars, **dict(zip(names, values, strict=True)))
            rows.append((*values, *((skipped(stage, course, wishes) if free else None) or looped(wishes))))
        return rows

    def looped(wishes: Floats | Changes) -> tuple[float, float, int]:
        targets = wishes.targets(len(bars.times)) if isinstance(wishes, Changes) else wishes
        result = simulate(bars, targets, costs, limits, instruments=instruments, trading=account)
        return float(result.equity[-1]), result.measures["sharpe"], int(result.measures["fills"])

    with ThreadPoolExecutor(threads) as pool:
        played = list(pool.map(some, [points[number::threads] for number in range(threads)]))
    rows = [played[number % threads][number // threads] for number in range(len(points))]
    return pl.DataFrame(rows, schema=[*names, "equity", "sharpe", "fills"], orient="row")


def warm_up() -> None:
    """Compile the path, and leave it on disk for every later process: two made-up bars are swept."""
    times, prices = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"), np.ones((2, 1))
    bars, held = Panel(times, ("BTC/USDT",), prices, prices, prices, prices, prices), Changes(np.zeros(1, np.int64), np.ones(1))
    sweep(bars, lambda _, **_grid: held, {"point": [0]}, CostSettings(), RiskSettings(), trading=TradingSettings(fixed_units=1.0))


def skipped(stage: Stage, course: Course, wishes: Floats | Changes) -> tuple[float, float, int] | None:
    """Final equity, annual Sharpe ratio and number of fills. None where equity fell to nothing, and returns are undefined: the loop knows what to say."""
    play(stage, course, wishes if isinstance(wishes, Changes) else Changes.of(wishes))
    equity, total, squares, _, least, fills = course.records.tally.tolist()
    if not least > 0:
        return None
    return equity, _sharpe(total, squares, len(course.tape.close) - 1, stage.bars.bars_per_year), int(fills)


def path_free(stage: Stage) -> bool:
    """Whether nothing but exposures and prices decides what is held: one symbol without gaps, of fixed size, and nothing that only the wider loop knows."""
    bars = stage.bars
    return stage.terms is None and stage.rules.fixed_units > 0 and len(bars.symbols) == 1 and bars.dense and bool(bars.close.min() > 0)


def _sharpe(total: float, squares: float, count: int, bars_per_year: float) -> float:
    """As in desk.backtest.summary."""
    variance = (squares - total * total / count) / (count - 1) if count > 1 else 0.0
    return total / count / math.sqrt(variance) * math.sqrt(bars_per_year) if variance > _ROUNDING * squares else math.nan


@cache
def compiled_skip() -> Callable[[Course, Changes], None]:
    """`skip` as machine code; releases the interpreter lock while it runs."""
    import numba
    from numba.extending import register_jitable

    compiled.play()  # makes the desk's formulas known to the compiler
    for name, relaxed in _COMPILED.items():
        register_jitable(error_model="numpy", _nrt=False, fastmath=set(relaxed) or False)(globals()[name])
    njit: Any = numba.njit  # its annotations do not know `_nrt`
    source = inspect.getsource(inspect.getmodule(skip))  # type: ignore[arg-type]
    folder = compiled._cache_folder()
    with compiled._cached_in(folder.with_name(f"skipping-{hashlib.sha256((folder.name + source).encode()).hexdigest()[:16]}")) as kept:
        return cast("Callable[..., None]", njit(skip, cache=kept, nogil=True, error_model="numpy", _nrt=False))
