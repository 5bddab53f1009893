"""The rules of the house that a syntax tree can see: sizes, docstrings, names, clocks, prints, and what an import may do.

Each test lists every offender, so that one run shows all there is to mend.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("flows", "tasks", "models", "desk", "data_contracts", "configs")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

MODULE_LINES = 500
TEST_LINES = 400
FUNCTION_LINES = 60
CONSTRUCTOR_LINES = 50
# Lines that stand in more than one place count as written twice from this many in a row on.
SAME_LINES = 6
DUPLICATION = 0.05
LONG_LOOPS = {"desk/session.py": 80, "models/training.py": 80}
POSITIONAL_PARAMETERS = 5
# arithmetic that the session and the compiled kernel share: numba knows no keyword-only parameters
COMPILED = {
    "desk/costs.py",
    "desk/instruments.py",
    "desk/execution/fills.py",
    "desk/strategy/sizing.py",
    "desk/risk/exposure.py",
    "desk/risk/guards.py",
    "desk/backtest/kernel.py",
}
NESTING = 3

WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
CLOCKS = {"desk/clock.py", "desk/practice_exchange/clock.py"}
NESTS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, Function))


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, kind))


def none(offenders: Iterable[str]) -> bool:
    """Whether there are none; otherwise fail here, with every offender on a line of its own, however many there are."""
    found = list(offenders)
    assert not found, "\n" + "\n".join(found)
    return True


def at(path: str, node: ast.AST, note: object = "") -> str:
    return f"{path}:{getattr(node, 'lineno', 0)} {getattr(node, 'name', '')} {note}".strip()


def test_no_module_is_longer_than_500_lines() -> None:
    assert none([f"{path}: {count}" for path in SOURCES if (count := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES])


def test_no_file_of_tests_is_longer_than_400_lines() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))

    assert none([f"{path}: {count}" for path in files if (count := len(path.read_text(encoding="utf-8").splitlines())) > TEST_LINES])


def test_little_is_written_twice() -> None:
    """Comments, imports and empty lines aside."""
    sources = {path.as_posix(): said(path.read_text(encoding="utf-8")) for path in SOURCES}

    twice = written_twice(sources)

    assert none(sorted(f"{path}:{line}" for path, line in twice) if len(twice) >= DUPLICATION * sum(map(len, sources.values())) else [])


def said(text: str) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    lines = enumerate((line.strip() for line in text.splitlines()), 1)
    return [(number, line) for number, line in lines if line and not line.startswith(("#", "import ", "from ", '"""'))]


def written_twice(sources: Mapping[str, list[tuple[int, str]]]) -> set[tuple[str, int]]:
    """Files and lines that are part of a run of `SAME_LINES` that stands in another place too."""
    places: dict[tuple[str, ...], list[tuple[str, int, int]]] = {}
    for path, lines in sources.items():
        for first in range(len(lines) - SAME_LINES + 1):
            run = lines[first : first + SAME_LINES]
            places.setdefault(tuple(line for _, line in run), []).append((path, run[0][0], run[-1][0]))
    again = [place for found in places.values() if len(found) > 1 for place in found]
    return {(path, number) for path, start, end in again for number, _ in sources[path] if start <= number <= end}


def test_no_constructor_is_longer_than_50_lines() -> None:
    constructors = [(path, node, (node.end_lineno or 0) - node.lineno + 1) for path, node in functions() if node.name in ("__init__", "__post_init__")]

    assert none([at(path, node, length) for path, node, length in constructors if length > CONSTRUCTOR_LINES])


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = [(path, node, (node.end_lineno or 0) - node.lineno + 1) for path, node in functions()]

    assert none([at(path, node, length) for path, node, length in lengths if length > LONG_LOOPS.get(path, FUNCTION_LINES)])


def test_no_function_takes_more_than_five_positional_parameters() -> None:
    def positional(node: Function) -> int:
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        return len(names) - (names[:1] in (["self"], ["cls"]))

    assert none([at(path, node, positional(node)) for path, node in functions() if path not in COMPILED and positional(node) > POSITIONAL_PARAMETERS])


def depth(node: ast.AST) -> int:
    """Deepest nesting of blocks below this node; `elif` does not nest, nor does a function inside a function."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, NESTS) and not is_elif))
    return deepest


def test_no_function_nests_deeper_than_three_blocks() -> None:
    assert none([at(path, node, depth(node)) for path, node in functions() if depth(node) > NESTING])


def undocumented(tree: ast.Module, prefix: str = "") -> Iterator[str]:
    """Public classes, functions and methods without a docstring."""

    def visit(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None and not overloaded(node):
                    yield f"{prefix}{node.name}"
                if isinstance(node, ast.ClassDef):
                    yield from visit(node.body, f"{prefix}{node.name}.")

    return visit(tree.body, prefix)


def overloaded(node: Function | ast.ClassDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id in {"overload", "override"} for mark in node.decorator_list)


def test_every_module_and_every_public_definition_says_what_it_is_for() -> None:
    silent_modules = [path for path, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None]
    silent = [f"{path}: {name}" for path, tree in TREES.items() for name in undocumented(tree)]

    assert none(silent_modules + silent)


def test_every_public_function_is_annotated() -> None:
    def bare(node: Function) -> bool:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return node.returns is None or any(argument.annotation is None and argument.arg not in {"self", "cls"} for argument in arguments)

    assert none([at(path, node) for path, node in functions() if not node.name.startswith("_") and bare(node)])


def test_only_the_console_prints() -> None:
    calls = [(path, node) for path, node in nodes(ast.Call) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"]

    assert none([at(path, node) for path, node in calls if path != "flows/cli.py" and not path.endswith("__main__.py")])


def test_only_the_clocks_read_the_wall_clock() -> None:
    def reads(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and (ast.unparse(node.value).rsplit(".", 1)[-1], node.attr) in WALL_CLOCK

    assert none([at(path, node) for path, node in nodes(ast.Attribute) if path.startswith("desk/") and path not in CLOCKS and reads(node)])


def test_no_broad_except_hides_what_happened() -> None:
    """Whoever catches everything must raise again, or at least use what was caught."""

    def hides(handler: ast.ExceptHandler) -> bool:
        broad = handler.type is None or any(isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"} for node in ast.walk(handler.type))
        used = any(isinstance(node, ast.Raise) or (isinstance(node, ast.Name) and node.id == handler.name) for part in handler.body for node in ast.walk(part))
        return broad and not used

    assert none([at(path, node) for path, node in nodes(ast.ExceptHandler) if isinstance(node, ast.ExceptHandler) and hides(node)])


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b|\bplaceholder\b", re.IGNORECASE)
    lines = [(path, number, line) for path in SOURCES for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)]

    assert none([f"{path.relative_to(ROOT)}:{number} {line.strip()}" for path, number, line in lines if words.search(line)])


def test_names_say_what_things_are() -> None:
    """No `utils`, no `Base...`; only the order manager keeps the name of its trade."""
    vague_modules = [path for path in TREES if Path(path).stem in {"utils", "util", "helpers", "helper", "common", "misc", "base"}]
    vague_classes = [
        at(path, node)
        for path, node in nodes(ast.ClassDef)
        if isinstance(node, ast.ClassDef) and re.search(r"^(Base|Abstract)[A-Z]|(Impl|Helper|Utils)$|^I[A-Z][a-z]|(?<!^Order)Manager$", node.name)
    ]

    assert none(vague_modules + vague_classes)


def test_messages_do_not_say_got() -> None:
    texts = [(path, node) for path, node in nodes(ast.Constant) if isinstance(node, ast.Constant) and isinstance(node.value, str)]

    assert none([at(path, node) for path, node in texts if re.search(r"\bgot\b", str(getattr(node, "value", "")))])


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*FLOORS, cache_dir=None)


def test_every_module_is_reached_from_a_flow_or_an_entry_point(graph: grimp.ImportGraph) -> None:
    """Code that nothing runs is dead, however well it is tested."""
    roots = {name for name in graph.modules if name.startswith("flows.") or name.endswith(".__main__")}

    reached = roots | {below for root in roots for below in graph.find_upstream_modules(root)}
    packages = {name for name in graph.modules if graph.find_children(name)} | {name for name in graph.modules if (ROOT / name.replace(".", "/")).is_dir()}

    assert none(sorted(graph.modules - reached - packages))


def in_fresh_python(program: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_the_console_starts_without_the_heavy_libraries() -> None:
    heavy = ("torch", "mlflow", "great_expectations", "ccxt", "prefect", "optuna", "onnxruntime", "polars", "pandas", "numba", "sklearn", "matplotlib")

    loaded = in_fresh_python(f"import sys, flows.cli; print([name for name in {heavy!r} if name in sys.modules])")

    assert "[]" == loaded


WATCHED = """
import importlib, os, sys

def watch(event, arguments):
    path = str(arguments[0]) if arguments else ""
    writes = event == "open" and isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+") and not path.startswith("/dev/")
    if writes or event in ("os.mkdir", "os.remove", "os.rename", "socket.connect", "socket.bind", "subprocess.Popen", "sqlite3.connect"):
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(root):
            frame = frame.f_back
        if frame is not None and "/.venv/" not in frame.f_code.co_filename:
            deepest = sys._getframe(1).f_code.co_filename
            acts.append(f"{event} {path} by {frame.f_code.co_filename} in {deepest}")

acts, root = [], os.getcwd() + os.sep
before = dict(os.environ)
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
# polars tells its own memory allocator how to behave
acts += [f"environment {name}" for name in os.environ if before.get(name) != os.environ[name] and not name.startswith("_RJEM")]
print("\\n".join(acts))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("floor", ["configs", "data_contracts", "desk"])
def test_importing_touches_nothing(floor: str) -> None:
    """No file written, no socket opened, no process started, no variable set."""
    modules = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in TREES if path.startswith(floor) and "__main__" not in path]

    assert "" == in_fresh_python(f"import sys; sys.argv[1:] = {modules!r}\n{WATCHED}")


def test_the_rules_see_what_they_should() -> None:
    """The counters themselves, on a tree with known faults."""
    tree = ast.parse("def f():\n if a:\n  for b in c:\n   with d:\n    try:\n     g\n    except E:\n     h\n")

    assert 4 == depth(tree.body[0])
    assert ["f"] == list(undocumented(tree))
    block = "\n".join(f"    call_{number}()" for number in range(SAME_LINES))
    apart = {"a": said(f"def f():\n{block}\n\n# c\n"), "b": said(f"import x\n{block}\n    last()")}
    assert {*(("a", line) for line in range(2, 2 + SAME_LINES)), *(("b", line) for line in range(2, 2 + SAME_LINES))} == written_twice(apart)
    assert set() == written_twice({"a": apart["a"], "b": apart["b"][1:]})
    assert 1 == depth(ast.parse("def f():\n    if a:\n        b\n    elif c:\n        d\n    elif e:\n        g\n").body[0])
