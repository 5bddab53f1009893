"""The kernel's loops, compiled when they are first wanted and kept on disk between processes.

What is kept is named by a hash of every source that is compiled: a changed fee in `desk/costs.py` reaches the kernel at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from desk import costs, instruments
from desk.backtest import line_loop, loop, outlook, venue_loop
from desk.backtest.machine_code import MachineCode, hash_of
from desk.execution import fills, levels, perpetual
from desk.risk import guards, shortfall
from desk.strategy import sizing

_COMPILED = {
    instruments: ("lots_of", "ticks_of"),
    costs: ("trade_cost_fraction", "fee", "funding"),
    sizing: ("order_lots", "fixed_lots"),
    guards: ("check", "drawdown_floor", "daily_floor"),
    shortfall: ("cell", "count", "begin", "shortfall_after", "admit"),
    outlook: ("look",),
    fills: ("fill_lots", "fill_ticks", "impact_share", "ration_into"),
    levels: ("stop_level", "gain_level", "nearer"),
    perpetual: ("funding_units", "margined_lots", "doomed"),
    loop: (
        "equity_at",
        "fetch_ahead",
        "opinions",
        "has_opinion",
        "has_bar",
        "note_closes",
        "unmarked",
        "remember",
        "wish",
        "judge",
        "keep_asked",
        "settle",
        "buy",
        "execute",
        "paid",
        "tally",
        "conclude",
        "exact_product",
        "exact_sum",
    ),
    line_loop: ("find_turns", "quiet_until", "turning", "glide", "drifting", "mark", "lowest", "ordered", "dealt", "record"),
    venue_loop: (
        "contracts_of",
        "charge",
        "walk",
        "calm_until",
        "out_of_reach",
        "first_reached",
        "solvent_until",
        "begin",
        "trade",
        "trade_contract",
        "close_resting",
        "close_position",
        "carry_margin",
        "next_due",
        "pay_funding",
        "note_fill",
        "price_of",
        "ask",
        "protect",
        "planned",
    ),
}
# The sums for the measures may be added in any order, eight at a time; nothing else may.
_RELAXED = {"tally": ("nsz", "reassoc")}


@cache
def play() -> Callable[[loop.Run], None]:
    """`loop.play` as machine code; releases the interpreter lock while it runs."""
    return cast("Callable[[loop.Run], None]", _machine_code(loop.play))


@cache
def play_line() -> Callable[[loop.Run], None]:
    """`line_loop.play_line` as machine code."""
    return cast("Callable[[loop.Run], None]", _machine_code(line_loop.play_line))


@cache
def play_all() -> Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides], None]:
    """`venue_loop.play_all` as machine code; compiled only where it is wanted."""
    return cast("Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides], None]", _machine_code(venue_loop.play_all))


@cache
def play_careful() -> Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides, outlook.Outlook], None]:
    """`venue_loop.play_careful` as machine code; compiled only where it is wanted."""
    return cast("Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides, outlook.Outlook], None]", _machine_code(venue_loop.play_careful))


def _machine_code(function: Callable[..., None]) -> MachineCode:
    return MachineCode(function, code_hash(), make_known)


@cache
def make_known() -> None:
    """Tell the compiler of everything the loops call, once."""
    from numba.extending import overload, register_jitable

    # `loop.fetch` does nothing in Python; the processor has an instruction for it.
    overload(loop.fetch)(_fetched)
    for module, names in _COMPILED.items():
        for name in names:
            relaxed = set(_RELAXED.get(name, ())) or False
            # Into one function: a call would copy every array's description, and there are many in these tuples. A third of the time, otherwise.
            register_jitable(error_model="numpy", _nrt=False, forceinline=True, fastmath=relaxed)(getattr(module, name))


def _fetched(array: Any, row: Any) -> Callable[[Any, Any], None]:
    """What `loop.fetch` is compiled to: a prefetch, which neither waits nor fails, whatever the row."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def prefetch(_typing: Any, array: Any, row: Any) -> tuple[Any, Any]:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            number, pointer = ir.IntType(32), builder.gep(data, [arguments[1]])
            named = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
            instruction = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(builder.module, named, "llvm.prefetch.p0")
            # To read (0), to be kept near (3), data (1).
            builder.call(instruction, [pointer, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), emit

    instruction_of: Any = intrinsic(prefetch)

    def fetched(array: Any, row: Any) -> None:
        instruction_of(array, row)

    return fetched


@cache
def code_hash() -> str:
    """Hash of every source that is compiled, and of how."""
    return hash_of([*_COMPILED, sys.modules[__name__]])
