"""The arithmetic features are written in: a graph of small operations that is declared once and computed two ways.

Every operation has a batch form (a polars expression over a symbol's bars in time order) and a step form (plain floats, one bar at a time).
Only `lag` has memory. Windows are sums of lagged sums with doubling length, so a window's value is a fixed tree of additions: it does not
depend on where the history began, carries no rounding from bars that left it, and both forms give the same float64.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from desk.events import Bar

# What a feature may read of a bar. Times enter as parts of the bar's open time, UTC.
INPUTS = ("open", "high", "low", "close", "volume", "minute_of_day", "weekday")

Number = TypeVar("Number", float, pl.Expr)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation in its two forms, each called with its inputs and then its parameter, when it has one.

    Comparisons are written so that NaN takes the same branch in polars (where NaN is the largest number) and in Python: NaN in, NaN out.
    """

    name: str
    batch: Callable[..., pl.Expr]
    step: Callable[..., Any]

    def source(self) -> str:
        """Text of both forms: part of a recipe's hash, so that editing an operation changes it."""
        return f"{self.name}\n{inspect.getsource(self.batch)}\n{inspect.getsource(self.step)}"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value per bar. Nodes are interned: the same formula written twice is the same object and is computed once."""

    operation: Operation
    inputs: tuple[Node, ...]
    parameter: float | str | None
    warmup_bars: int

    def __add__(self, other: Node) -> Node:
        return elementwise(ADD, self, other)

    def __sub__(self, other: Node) -> Node:
        return elementwise(SUBTRACT, self, other)

    def __mul__(self, other: Node) -> Node:
        return elementwise(MULTIPLY, self, other)


@functools.cache
def _intern(operation: Operation, inputs: tuple[Node, ...], parameter: float | str | None, memory_bars: int) -> Node:
    return Node(operation, inputs, parameter, memory_bars + max((node.warmup_bars for node in inputs), default=0))


def elementwise(operation: Operation, *inputs: Node) -> Node:
    """Apply an operation to values of the same bar."""
    return _intern(operation, inputs, None, 0)


def column(name: str) -> Node:
    """A column of the bar, one of INPUTS: prices in quote, volume in base, minutes since midnight UTC, ISO weekday (Monday 1)."""
    if name not in INPUTS:
        raise ValueError(f"a feature reads one of {', '.join(INPUTS)}; found {name!r}")
    return _intern(INPUT, (), name, 0)


def scaled(value: Node, factor: float) -> Node:
    """value * factor."""
    return _intern(SCALE, (value,), factor, 0)


def at_least(value: Node, floor: float) -> Node:
    """The larger of value and floor."""
    return _intern(AT_LEAST, (value,), floor, 0)


def is_from(value: Node, bound: float) -> Node:
    """1 from `bound` upwards, 0 below."""
    return _intern(FROM, (value,), bound, 0)


def lag(value: Node, bars: int) -> Node:
    """The value `bars` existing bars ago (a gap is not a bar). The only operation that remembers."""
    return _intern(LAG, (value,), bars, bars)


def log(value: Node) -> Node:
    """Natural logarithm; NaN where value <= 0."""
    return elementwise(LOG, value)


def root(value: Node) -> Node:
    """Square root; NaN where value < 0."""
    return elementwise(ROOT, value)


def magnitude(value: Node) -> Node:
    """Absolute value."""
    return elementwise(MAGNITUDE, value)


def sine(value: Node) -> Node:
    """Sine of an angle in radians."""
    return elementwise(SINE, value)


def cosine(value: Node) -> Node:
    """Cosine of an angle in radians."""
    return elementwise(COSINE, value)


def ratio(numerator: Node, denominator: Node, otherwise: float = 0.0) -> Node:
    """numerator / denominator, and `otherwise` where the denominator is <= 0: nothing there to compare with."""
    return _intern(RATIO, (numerator, denominator), otherwise, 0)


def window_sum(value: Node, bars: int) -> Node:
    """Sum over the last `bars` bars, this one included; `bars` is a power of two (see the module's first lines)."""
    if bars < 1 or bars & (bars - 1):
        raise ValueError(f"a window must be a power of two bars long, found {bars}; choose {1 << max(bars, 1).bit_length()}")
    length = 1
    while length < bars:
        value = value + lag(value, length)
        length *= 2
    return value


def window_mean(value: Node, bars: int) -> Node:
    """Mean over the last `bars` bars, this one included; `bars` is a power of two."""
    return scaled(window_sum(value, bars), 1.0 / bars)


def ordered(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Every node the given ones need, each once, inputs before users, in an order that depends on the formulas alone."""
    placed: dict[Node, None] = {}

    def place(node: Node) -> None:
        if node not in placed:
            for each in node.inputs:
                place(each)
            placed[node] = None

    for node in nodes:
        place(node)
    return tuple(placed)


def listing(nodes: Sequence[Node]) -> str:
    """Canonical text of formulas, one numbered operation a line: equal texts mean equal formulas."""
    program = ordered(nodes)
    number = {node: index for index, node in enumerate(program)}
    lines = [f"{number[n]} {n.operation.name} {' '.join(str(number[i]) for i in n.inputs)} {n.parameter!r}" for n in program]
    return "\n".join([*lines, "outputs " + " ".join(str(number[n]) for n in nodes)])


def _add(a: Number, b: Number) -> Number:
    return a + b


def _subtract(a: Number, b: Number) -> Number:
    return a - b


def _multiply(a: Number, b: Number) -> Number:
    return a * b


def _magnitude(a: Number) -> Number:
    return abs(a)


def _ratio(a: float, b: float, otherwise: float) -> float:
    return otherwise if b <= 0.0 else a / b


def _ratio_batch(a: pl.Expr, b: pl.Expr, otherwise: float) -> pl.Expr:
    return pl.when(b <= 0.0).then(otherwise).otherwise(a / b)


def _at_least(a: float, floor: float) -> float:
    return floor if a < floor else a


def _at_least_batch(a: pl.Expr, floor: float) -> pl.Expr:
    return pl.when(a < floor).then(floor).otherwise(a)


def _from(a: float, bound: float) -> float:
    return 0.0 if a < bound else 1.0


def _from_batch(a: pl.Expr, bound: float) -> pl.Expr:
    return pl.when(a < bound).then(0.0).otherwise(1.0)


def _log(a: float) -> float:
    return math.nan if a <= 0.0 else math.log(a)


def _log_batch(a: pl.Expr) -> pl.Expr:
    return pl.when(a <= 0.0).then(math.nan).otherwise(a.log())


def _root(a: float) -> float:
    return math.nan if a < 0.0 else math.sqrt(a)


def _root_batch(a: pl.Expr) -> pl.Expr:
    return pl.when(a < 0.0).then(math.nan).otherwise(a.sqrt())


def _sine(a: float) -> float:
    return math.sin(a)


def _sine_batch(a: pl.Expr) -> pl.Expr:
    return a.sin()


def _cosine(a: float) -> float:
    return math.cos(a)


def _cosine_batch(a: pl.Expr) -> pl.Expr:
    return a.cos()


def _input(bar: Bar, name: str) -> float:
    if name == "minute_of_day":
        return bar.open_time.hour * 60.0 + bar.open_time.minute
    if name == "weekday":
        return float(bar.open_time.isoweekday())
    return float(getattr(bar, name))


def _input_batch(name: str) -> pl.Expr:
    if name == "minute_of_day":
        at = pl.col("open_time").dt
        return (at.hour().cast(pl.Float64) * 60.0) + at.minute().cast(pl.Float64)
    if name == "weekday":
        return pl.col("open_time").dt.weekday().cast(pl.Float64)
    return pl.col(name)


def _lag_batch(a: pl.Expr, bars: int) -> pl.Expr:
    return a.shift(bars, fill_value=math.nan)


def remembering(bars: int) -> Callable[[float], float]:
    """The step form of a lag: a function that answers what it was told `bars` calls ago, NaN before that."""
    line = deque([math.nan] * bars, maxlen=bars)

    def lagged(a: float) -> float:
        oldest = line[0]
        line.append(a)
        return oldest

    return lagged


ADD = Operation("add", _add, _add)
SUBTRACT = Operation("subtract", _subtract, _subtract)
MULTIPLY = Operation("multiply", _multiply, _multiply)
MAGNITUDE = Operation("magnitude", _magnitude, _magnitude)
RATIO = Operation("ratio", _ratio_batch, _ratio)
SCALE = Operation("scale", _multiply, _multiply)
AT_LEAST = Operation("at_least", _at_least_batch, _at_least)
FROM = Operation("from", _from_batch, _from)
LOG = Operation("log", _log_batch, _log)
ROOT = Operation("root", _root_batch, _root)
SINE = Operation("sine", _sine_batch, _sine)
COSINE = Operation("cosine", _cosine_batch, _cosine)
INPUT = Operation("input", _input_batch, _input)
LAG = Operation("lag", _lag_batch, remembering)
