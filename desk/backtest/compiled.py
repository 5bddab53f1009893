"""The kernel's loop, compiled when it is first wanted and kept on disk between processes.

numba's own cache looks only at the file of the outermost function: a changed fee in `desk/costs.py` would leave the old cost in the
kernel. So the cache lives in a folder named by a hash of every source that is compiled.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from desk import costs, instruments
from desk.backtest import loop, venue_loop
from desk.execution import fills, levels, perpetual
from desk.risk import guards
from desk.strategy import sizing

_COMPILED = {
    instruments: ("lots_of", "ticks_of"),
    costs: ("trade_cost_fraction", "fee", "funding"),
    sizing: ("order_lots", "fixed_lots"),
    guards: ("check", "drawdown_floor", "daily_floor"),
    fills: ("fill_lots", "fill_ticks", "ration_into"),
    levels: ("stop_level", "gain_level", "nearer"),
    perpetual: ("funding_units", "margined_lots", "doomed"),
    loop: (
        "has_bar",
        "note_closes",
        "price_at",
        "glide",
        "rest",
        "drift",
        "remember",
        "wish",
        "judge",
        "settle",
        "buy",
        "execute",
        "conclude",
        "exact_product",
        "add_to",
    ),
    venue_loop: (
        "calm_until",
        "solvent_until",
        "begin",
        "trade",
        "trade_contract",
        "close_resting",
        "close_position",
        "carry_margin",
        "note_fill",
        "price_of",
        "ask",
        "protect",
        "planned",
    ),
}
# The sums for the measures may be added in any order, eight at a time; nothing else may.
_RELAXED = {"conclude": ("nsz", "reassoc")}


@cache
def play() -> Callable[[loop.Run], None]:
    """`loop.play` as machine code; releases the interpreter lock while it runs."""
    return cast("Callable[[loop.Run], None]", _machine_code(loop.play))


@cache
def play_all() -> Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides], None]:
    """`venue_loop.play_all` as machine code; compiled only where it is wanted."""
    return cast("Callable[[loop.Run, venue_loop.Terms, venue_loop.Besides], None]", _machine_code(venue_loop.play_all))


def _machine_code(function: Callable[..., None]) -> Any:
    _make_known()
    import numba

    with _cached_in(_cache_folder()) as kept:
        # Nothing in the loops makes an array, so nothing has to count who uses one: a third of the time, otherwise.
        njit: Any = numba.njit  # its annotations do not know `_nrt`
        return njit(function, cache=kept, nogil=True, error_model="numpy", _nrt=False)


@cache
def _make_known() -> None:
    """Tell the compiler of everything the loops call, once."""
    from numba.extending import register_jitable

    for module, names in _COMPILED.items():
        for name in names:
            register_jitable(error_model="numpy", _nrt=False, fastmath=set(_RELAXED.get(name, ())) or False)(getattr(module, name))


@cache
def code_hash() -> str:
    """Hash of every source that is compiled."""
    return hashlib.sha256(repr(_RELAXED).join(inspect.getsource(module) for module in _COMPILED).encode()).hexdigest()


def _cache_folder() -> Path:
    """Below $TRADEWIND_CACHE or ~/.cache/tradewind; named by the content of what is compiled."""
    return Path(os.environ.get("TRADEWIND_CACHE") or Path.home() / ".cache" / "tradewind") / f"kernel-{code_hash()[:16]}"


@contextmanager
def _cached_in(folder: Path) -> Iterator[bool]:
    """Let numba keep what it compiles in `folder`; False where nothing can be written, and the kernel is compiled anew in every process."""
    import numba

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        yield False
        return
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
    try:
        yield os.access(folder, os.W_OK)
    finally:
        settings.CACHE_DIR = before
