"""What is retried, what is cached, and how a finished step is found again: the only numbers about retries in the repository.

Retries are chosen by error class: what is `Transient` is tried again, everything else ends the task at once. Orders are never retried here.

`artefact_task` makes a task whose result is found again by content. Its key is the task's name, the source of every module of ours that the task
can reach, and its parameters (datasets by content hash, not by version). The body is handed a `folder` of its own, named by that key, and what it
writes there is sealed when it returns, together with the datasets that its result names.

Prefect's cache looks at no file, so the seal has an identity of its own, the build, which is part of the key that Prefect sees: a step whose files or
datasets were deleted, damaged or moved since has a key that was never seen, and is computed again. Body and cache answer with the same type: every
result goes through JSON once.
"""

from __future__ import annotations

import ast
import fcntl
import functools
import hashlib
import inspect
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.serializers import JSONSerializer
from prefect.tasks import Task, exponential_backoff
from pydantic_core import to_jsonable_python

from configs.operations import OperationsSettings
from desk.disk import write_whole
from desk.errors import Transient
from desk.log import event
from tasks.places import lake_of

T = TypeVar("T")

NETWORK_RETRIES = 4
FIRST_DELAY_S = 2
JITTER = 0.5

PACKAGES = ("flows", "tasks", "models", "desk", "data_contracts", "configs")
ROOT = Path(__file__).resolve().parents[1]
SEAL = "DONE.json"
CHUNK = 1 << 20
SHOWN = 16


def is_transient(task: Any, task_run: Any, state: Any) -> bool:
    """Whether a failed attempt may be made again (Prefect calls this by keyword or position: task, task_run, state)."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, Transient)


def network_retries() -> dict[str, Any]:
    """Options of a task that talks to a venue: transient errors are tried again with growing, jittered delays."""
    return {
        "retries": NETWORK_RETRIES,
        "retry_delay_seconds": exponential_backoff(FIRST_DELAY_S),
        "retry_jitter_factor": JITTER,
        "retry_condition_fn": is_transient,
    }


@dataclass(frozen=True, slots=True)
class Step:
    """One artefact task of this process: whether its result was found again, and the seconds its body took."""

    name: str
    cached: bool
    seconds: float = 0.0


_steps: dict[str, Step] = {}
_builds: dict[Path, str] = {}


def cache_ledger() -> tuple[Step, ...]:
    """Every artefact task this process ran, in order."""
    return tuple(_steps.values())


def artefact_task(*, name: str, ignore: tuple[str, ...] = ()) -> Callable[[Callable[..., T]], Task[..., T]]:
    """Make a cached task of a body that takes `operations` and a keyword `folder`; parameters named in `ignore` do not count for the key."""

    def decorate(body: Callable[..., T]) -> Task[..., T]:
        signature = inspect.signature(body)
        public = signature.replace(parameters=[each for each in signature.parameters.values() if each.name != "folder"])
        place = functools.partial(_place, name, body.__module__, ignore)

        def key_of(context: TaskRunContext, parameters: dict[str, Any]) -> str:
            folder = place(parameters)
            key = _key(name, folder, parameters["operations"])
            known = context.result_store.exists(key)
            _steps[str(context.task_run.id)] = Step(name, cached=known)
            event("cache.hit" if known else "cache.missed", task=name, key=key)
            return key

        @functools.wraps(body)
        def run(*args: Any, **kwargs: Any) -> T:
            bound = public.bind(*args, **kwargs)
            bound.apply_defaults()
            folder, began = place(bound.arguments), time.monotonic()
            with _owned(folder):
                (folder / SEAL).unlink(missing_ok=True)
                plain = JSONSerializer().dumps(body(*args, **kwargs, folder=folder))
                seal(folder, _builds.get(folder) or uuid.uuid4().hex, _datasets(json.loads(plain)))
            if context := TaskRunContext.get():
                _steps[str(context.task_run.id)] = Step(name, cached=False, seconds=time.monotonic() - began)
            return JSONSerializer[T]().loads(plain)

        run.__signature__ = public  # type: ignore[attr-defined]
        return Task(fn=run, name=name, cache_policy=CacheKeyFnPolicy(cache_key_fn=key_of), persist_result=True, result_serializer="json")

    return decorate


def _place(name: str, module: str, ignore: tuple[str, ...], parameters: Mapping[str, Any]) -> Path:
    """The folder of one call, named by everything that can change its result."""
    counted = {each: value for each, value in parameters.items() if each not in ignore and each != "folder"}
    text = "\n".join((name, source_hash(module), json.dumps(_without_versions(to_jsonable_python(counted)), sort_keys=True)))
    return (Path(parameters["operations"].var) / "artefacts" / name / _digest(text)).resolve()


def _key(name: str, folder: Path, operations: OperationsSettings) -> str:
    """The key that Prefect sees: it holds the build sealed in the folder, or a new one when what was built is not all there."""
    build = intact_build(folder, operations)
    if build is None and (folder / SEAL).exists():
        event("cache.broken", task=name, folder=str(folder), level="WARNING")
    _builds[folder] = build or uuid.uuid4().hex
    # results hold absolute paths: a state folder mounted elsewhere is another one
    return f"{name}-{folder.name}-{_digest(f'{folder} {_builds[folder]}')}"


def _without_versions(value: Any) -> Any:
    """Drop the Delta version wherever a content hash says more: the same rows may carry another version."""
    if isinstance(value, dict):
        return {name: _without_versions(each) for name, each in value.items() if not (name == "version" and "content_hash" in value)}
    return [_without_versions(each) for each in value] if isinstance(value, list) else value


def _datasets(value: Any) -> list[tuple[str, int]]:
    """Every (table, version) that a plain result refers to."""
    if isinstance(value, dict) and {"stage", "table", "version", "content_hash"} <= value.keys():
        return [(f"{value['stage']}/{value['table']}", value["version"])]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for each in inside for found in _datasets(each)]


def seal(folder: Path, build: str, datasets: list[tuple[str, int]]) -> None:
    """List every file with size and sha256, and the datasets, in DONE.json, written last and whole."""
    files = {str(path.relative_to(folder)): [path.stat().st_size, _sha256(path)] for path in _files(folder)}
    write_whole(folder / SEAL, json.dumps({"build": build, "datasets": datasets, "files": files}, indent=1, sort_keys=True))


def intact_build(folder: Path, operations: OperationsSettings) -> str | None:
    """The build sealed in this folder, if every sealed file has its sealed content and every dataset is in the lake."""
    try:
        sealed: dict[str, Any] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        build, datasets, files = sealed["build"], sealed["datasets"], sealed["files"]
        whole = all((folder / name).stat().st_size == size and _sha256(folder / name) == digest for name, (size, digest) in files.items())
    except (OSError, ValueError, KeyError):
        return None
    there = whole and all(version in {each.version for each in lake_of(operations).history(table)} for table, version in datasets)
    return str(build) if there else None


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """One process at a time computes into a folder; the system lets go of the lock when that process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL and not path.name.startswith(f".{SEAL}."))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:SHOWN]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@functools.cache
def source_hash(module: str, root: Path = ROOT) -> str:
    """sha256 over the source of a module and of every module of ours that it reaches, imports inside functions included."""
    reached: dict[Path, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root)
        if path is None or path in reached:
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        reached[path], names = _read(path, package)
        # importing a module runs the packages around it first
        waiting += [name.rpartition(".")[0], *names]
    digest = hashlib.sha256()
    for path, source in sorted(reached.items()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + source + b"\0")
    return digest.hexdigest()


@functools.cache
def _read(path: Path, package: str) -> tuple[bytes, tuple[str, ...]]:
    """A source, and every dotted name that an import statement anywhere in it may mean."""
    source, names = path.read_bytes(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            around = ".".join(package.split(".")[: package.count(".") + 2 - node.level]) if node.level else ""
            module = ".".join(part for part in (around, node.module) if part)
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return source, tuple(names)


def _file_of(module: str, root: Path) -> Path | None:
    """The file of a dotted name of ours: a module, or a package's __init__; None for anything else."""
    if module.split(".")[0] not in PACKAGES:
        return None
    stem = root.joinpath(*module.split("."))
    return next((path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()), None)
