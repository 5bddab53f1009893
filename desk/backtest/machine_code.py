"""Machine code that outlives its compiler: compiled by numba once, kept as an object file, loaded by LLVM alone in every later process.

Importing the compiler and all it knows takes ten times as long as playing a million bars. What is kept is named by everything it was made from: who
calls tells the sources (`of`), the rest are the kinds of the arguments, the processor and the versions of compiler and LLVM.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from desk.errors import ContractBroken

# Scalars that machine code knows, and what they are to it.
_SCALARS: dict[type, Any] = {bool: ctypes.c_bool, int: ctypes.c_int64, float: ctypes.c_double}
_PLAIN = {bool: bool, int: int, float: float, np.bool_: bool, np.int64: int, np.float64: float}
# An array: who owns it (twice), how many items of which size, and where. Its shape and its strides follow, a number each.
_ARRAY = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
_ONE_AT_A_TIME = threading.Lock()


class MachineCode:
    """A function of arrays, numbers and tuples of both that returns nothing, as machine code; releases the interpreter lock while it runs.

    `prepare` tells numba of what the function calls; asked only when something has to be compiled. `of`: hash of the sources.
    """

    def __init__(self, function: Callable[..., None], of: str, prepare: Callable[[], object]) -> None:
        self._function, self._of, self._prepare = function, of, prepare
        self._known: dict[tuple[Any, ...], Any] = {}

    def __call__(self, *arguments: Any) -> None:
        """Run it. The arrays are written to in place."""
        leaves = _leaves(arguments)
        kinds = tuple(map(_kind, leaves))
        if kinds not in self._known:
            with _ONE_AT_A_TIME:
                self._known[kinds] = self._known.get(kinds) or self._loaded(arguments, kinds)
        words: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, np.ndarray):
                # As numba lays out an array: see `_ARRAY`. Nobody owns it there.
                words += (None, None, leaf.size, leaf.itemsize, leaf.__array_interface__["data"][0], *leaf.shape, *leaf.strides)
            else:
                words.append(_PLAIN[type(leaf)](leaf))
        failed = self._known[kinds](ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_void_p()), *words)
        assert failed == 0, "nothing that is compiled here raises"

    def _loaded(self, arguments: tuple[Any, ...], kinds: tuple[Any, ...]) -> Any:
        """The function for arguments of these kinds, found on disk or compiled."""
        made_from = "|".join([self._function.__name__, self._of, hash_of([sys.modules[__name__]]), *map(str, kinds), *_makers()])
        path = cache_folder() / f"{self._function.__name__}-{hashlib.sha256(made_from.encode()).hexdigest()[:32]}.o"
        kept = _read(path)
        if kept is None:
            self._prepare()
            kept = _compiled(self._function, arguments)
            _keep(path, kept)
        symbol, code = kept
        words = [ctypes.c_void_p, ctypes.c_void_p]
        for kind in kinds:
            words += [_SCALARS[kind]] if isinstance(kind, type) else _ARRAY + [ctypes.c_int64] * 2 * kind[1]
        return ctypes.CFUNCTYPE(ctypes.c_int32, *words)(_address(code, symbol))


def cache_folder() -> Path:
    """$TRADEWIND_CACHE or ~/.cache/tradewind."""
    return Path(os.environ.get("TRADEWIND_CACHE") or Path.home() / ".cache" / "tradewind")


def hash_of(modules: Iterable[Any], *words: str) -> str:
    """SHA-256 of modules' sources, and of words besides."""
    digest = hashlib.sha256("|".join(words).encode())
    for module in modules:
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()


def _leaves(values: tuple[Any, ...]) -> list[Any]:
    """Arrays and numbers, in order, out of tuples in tuples."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, tuple):
            found += _leaves(value)
        else:
            found.append(value)
    return found


def _kind(leaf: Any) -> Any:
    """What machine code depends on: of an array the items, how many dimensions, and in which order the items lie."""
    if isinstance(leaf, np.ndarray):
        return leaf.dtype, leaf.ndim, "C" if leaf.flags.c_contiguous else "F" if leaf.flags.f_contiguous else "A"
    return _PLAIN[type(leaf)]


@cache
def _makers() -> tuple[str, str, str, str]:
    """Processor and its features, versions of LLVM's binding and of the compiler, which is not imported for it."""
    import llvmlite
    import llvmlite.binding as llvm

    compiler = find_spec("numba")
    assert compiler is not None
    assert compiler.origin is not None
    told = Path(compiler.origin).with_name("_version.py").read_text(encoding="utf-8")
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvmlite.__version__, told


def _compiled(function: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[str, bytes]:
    """The name by which LLVM knows the function, and its object file."""
    import numba
    from numba.core import registry
    from numba.core.compiler_lock import global_compiler_lock

    compiler: Any = numba.core.compiler  # its annotations do not know its flags
    flags = compiler.Flags()
    # Called from no Python; nothing makes an array, so nothing has to count who uses one: a third of the time, otherwise.
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    target, types = registry.cpu_target, tuple(map(numba.typeof, arguments))
    with global_compiler_lock:
        made = compiler.compile_extra(target.typing_context, target.target_context, function, types, numba.types.none, flags, {})
        needed = {each.name for each in made.library._final_module.functions if each.is_declaration and not each.name.startswith("llvm.")}
        code: bytes = made.library.codegen._tm.emit_object(made.library._final_module)
    # A process without the compiler would jump to nowhere.
    missing = sorted(name for name in needed if not hasattr(ctypes.CDLL(None), name))
    if missing:
        raise ContractBroken(f"expected machine code that needs only the C library, found that {function.__name__} calls {', '.join(missing)}: write it out")
    return made.fndesc.llvm_func_name, code


def _read(path: Path) -> tuple[str, bytes] | None:
    """What was kept; None where there is nothing, or not all of it."""
    try:
        digest, symbol, code = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    return (symbol.decode(), code) if hashlib.sha256(code).hexdigest().encode() == digest else None


def _keep(path: Path, made: tuple[str, bytes]) -> None:
    """Write at once or not at all. Where nothing can be written, every process compiles anew."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"\n".join([hashlib.sha256(made[1]).hexdigest().encode(), made[0].encode(), made[1]]))
        draft.replace(path)
    except OSError:
        return


# Loaded code lives as long as its engine.
_ENGINES: list[Any] = []


def _address(code: bytes, symbol: str) -> int:
    """Load an object file; where its function begins."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    address: int = engine.get_function_address(symbol)
    return address
