"""Sweeps that look only where something changes: for rules whose sizes do not depend on what they earned (`trading.fixed_units`).

What is compiled stands in `desk.backtest.strides`. What it does not know is played by the loop; tests/backtest/test_skipping.py holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, islice, product
from typing import Any, cast

import numpy as np
import polars as pl

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest import compiled, strides
from desk.backtest.kernel import simulate
from desk.backtest.machine_code import MachineCode, hash_of
from desk.backtest.panel import Floats, Panel
from desk.backtest.stage import Stage
from desk.backtest.strides import SQUARES, TERMS, Batch, Changes, Course, Grid, Records, Tape, skip_all
from desk.errors import ContractBroken
from desk.instruments import Instrument

# Final equity (quote), annual Sharpe ratio, number of fills.
Told = tuple[float, float, int]

# What is left of a variance by rounding alone, as a share of the sum of squares (as in desk.backtest.summary).
_ROUNDING = 1e-14
# Compiled besides what the loop is made of. Sums may be added in any order, several at a time.
_COMPILED = {
    "widen": (),
    "wanted_lots": (),
    "settle": (),
    "paid": (),
    "book": (),
    "spread": (),
    "edges": (),
    "returned": (),
    "stepped": ("nsz", "reassoc"),
    "climb": (),
    "begin_days": (),
    "fall": (),
    "skip": (),
}
# Called; all others become part of the run: a call would copy every array's description.
_RARE = ("stepped", "climb", "begin_days")
# Changes that are played in one call.
_BATCH = 16384


def course_of(stage: Stage) -> Course:
    """Lay out a stage's first asset."""
    holding = stage.book[0]
    return Course(
        tape_of(stage.bars),
        Grid(*(float(holding[name]) for name in Grid._fields)),
        stage.rules,
        stage.cash.copy(),
        records_of(len(stage.bars.times)),
    )


def tape_of(panel: Panel) -> Tape:
    """The first asset's bars, and what is known of every stretch of them beforehand."""
    open_, close, volume = (np.ascontiguousarray(array[:, 0], dtype=np.float64) for array in (panel.open, panel.close, panel.volume))
    low, high = float(close.min()), float(close.max())
    middle = 0.5 * (low + high)
    bars = np.empty((len(close), SQUARES + TERMS + 1))
    tape = Tape(close, bars, np.empty((len(close), 2)), np.empty((len(close), 2)), middle, high - middle, panel.new_days)
    _machine_code(strides.lay)(tape, open_, volume)
    return tape


def records_of(bars: int) -> Records:
    """Room for the most fills that can happen in so many bars: untouched room takes no memory."""
    return Records(np.empty((bars, 3), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1))


def play(course: Course, batch: Sequence[Changes]) -> Floats:
    """Runs from the stage's cash: a tally each, as `skip` says. The records are the last one's."""
    rows, exposures = (np.concatenate(parts) for parts in zip(*batch, strict=True))
    if (np.abs(exposures) > 1).any():
        raise ContractBroken(f"expected exposures in [-1, 1], found {np.nanmax(np.abs(exposures))}: correct the strategy")
    tallies = np.empty((len(batch), 6))
    compiled_skip()(course, Batch(rows, exposures, np.cumsum([len(changes.rows) for changes in batch])), tallies)
    return tallies


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
    at_once: int = 0,
) -> pl.DataFrame:
    """As `desk.backtest.kernel.sweep`, and the same table; fast where only changes have to be visited, as `path_free` says.

    `targets_of` may answer with `Changes`, which is faster still: no exposure is written for a bar on which it stays. With `at_once` it is asked for so
    many points in one call, `fast=[5, 5], slow=[60, 80]`, and answers with a list: for rules that need no Python between two points.
    """
    if threads < 1 or at_once < 0:
        raise ContractBroken(f"expected threads of at least 1 and at_once of at least 0, found {threads} and {at_once}")
    account, names, points = trading or TradingSettings(), tuple(grid), list(product(*grid.values()))
    stage = Stage.of(bars, costs, limits, instruments=instruments, trading=account)
    waiting, shared = iter(enumerate(points)), course_of(stage) if path_free(stage) else None

    def looped(wishes: Floats | Changes) -> Told:
        targets = wishes.targets(len(bars.times)) if isinstance(wishes, Changes) else wishes
        result = simulate(bars, targets, costs, limits, instruments=instruments, trading=account)
        return float(result.equity[-1]), result.measures["sharpe"], int(result.measures["fills"])

    def some(_: int) -> dict[int, Told]:
        # Each thread takes the next point that waits: none is idle while another has many left.
        asked = _answers(lambda **point: targets_of(bars, **point), names, waiting, at_once)
        if shared is None:
            return {number: looped(wishes) for number, wishes in asked}
        course = shared._replace(records=records_of(len(bars.times)))
        told: dict[int, Told] = {}
        for batch in _batches(asked):
            found = skipped(stage, course, [changes for _, changes in batch])
            told |= {number: each or looped(changes) for (number, changes), each in zip(batch, found, strict=True)}
        return told

    with ThreadPoolExecutor(threads) as pool:
        told = dict(chain.from_iterable(part.items() for part in pool.map(some, range(threads))))
    swept = {name: [values[place] for values in points] for place, name in enumerate(names)}
    found = {name: [told[number][place] for number in range(len(points))] for place, name in enumerate(("equity", "sharpe", "fills"))}
    return pl.DataFrame(swept | found)


def _answers(
    targets_of: Callable[..., Any], names: Sequence[str], waiting: Iterator[tuple[int, tuple[Any, ...]]], at_once: int
) -> Iterator[tuple[int, Floats | Changes]]:
    """What a rule wants at one waiting point after the other."""
    if at_once == 0:
        yield from ((number, targets_of(**dict(zip(names, values, strict=True)))) for number, values in waiting)
        return
    while block := list(islice(waiting, at_once)):
        columns = zip(*(values for _, values in block), strict=True)
        answers = targets_of(**{name: list(column) for name, column in zip(names, columns, strict=True)})
        if len(answers) != len(block):
            raise ContractBroken(f"expected {len(block)} answers for as many points at once, found {len(answers)}: answer each, in order")
        yield from zip((number for number, _ in block), answers, strict=True)


def _batches(asked: Iterable[tuple[int, Floats | Changes]]) -> Iterator[list[tuple[int, Changes]]]:
    """Points with together so many changes that calling the machine code costs nothing besides."""
    batch: list[tuple[int, Changes]] = []
    room = _BATCH
    for number, wishes in asked:
        batch.append((number, wishes if isinstance(wishes, Changes) else Changes.of(wishes)))
        room -= len(batch[-1][1].rows)
        if room <= 0:
            yield batch
            batch, room = [], _BATCH
    if batch:
        yield batch


def warm_up() -> None:
    """Compile the path, and leave it on disk for every later process: two made-up bars are swept."""
    times, prices = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"), np.ones((2, 1))
    bars, held = Panel(times, ("BTC/USDT",), prices, prices, prices, prices, prices), Changes(np.zeros(1, np.int64), np.ones(1))
    sweep(bars, lambda _, **_grid: held, {"point": [0]}, CostSettings(), RiskSettings(), trading=TradingSettings(fixed_units=1.0))


def skipped(stage: Stage, course: Course, batch: Sequence[Changes]) -> list[Told | None]:
    """Final equity, annual Sharpe ratio and number of fills of each run. None where equity fell to nothing, and returns are undefined: the loop knows what
    to say.
    """
    count, bars_per_year = len(course.tape.close) - 1, stage.bars.bars_per_year
    return [
        (equity, _sharpe(total, squares, count, bars_per_year), int(fills)) if least > 0 else None
        for equity, total, squares, _, least, fills in play(course, batch).tolist()
    ]


def path_free(stage: Stage) -> bool:
    """Whether nothing but exposures and prices decides what is held: one symbol without gaps, of fixed size, and nothing that only the wider loop knows."""
    bars = stage.bars
    return stage.terms is None and stage.rules.fixed_units > 0 and len(bars.symbols) == 1 and bars.dense and bool(bars.close.min() > 0)


def _sharpe(total: float, squares: float, count: int, bars_per_year: float) -> float:
    """As in desk.backtest.summary."""
    variance = (squares - total * total / count) / (count - 1) if count > 1 else 0.0
    return total / count / math.sqrt(variance) * math.sqrt(bars_per_year) if variance > _ROUNDING * squares else math.nan


@cache
def compiled_skip() -> Callable[[Course, Batch, Floats], None]:
    """`skip_all` as machine code; releases the interpreter lock while it runs."""
    return cast("Callable[[Course, Batch, Floats], None]", _machine_code(skip_all))


@cache
def _machine_code(function: Callable[..., None]) -> MachineCode:
    return MachineCode(function, hash_of([strides], compiled.code_hash(), repr(_COMPILED), *_RARE), _make_known)


@cache
def _make_known() -> None:
    """Tell the compiler of everything that is called."""
    from numba.extending import register_jitable

    compiled.make_known()
    for name, relaxed in _COMPILED.items():
        register_jitable(error_model="numpy", _nrt=False, forceinline=name not in _RARE, fastmath=set(relaxed) or False)(getattr(strides, name))
