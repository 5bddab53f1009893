"""What runs for this installation, written down: one file a service, changed by one starter at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import ValidationError

from configs.operations import OperationsSettings
from desk.errors import NoSpace, PreflightFailed
from tasks.values import Value

# Servers fail in strange ways on a full disk: better to say so before.
LEAST_FREE_BYTES = 200 * 2**20
# Two processes with one number are never created this close together; the system's clock may be corrected by less.
SAME_INSTANT_S = 2.0
PRIVATE = 0o600


class Process(Value):
    """One process of this machine, not the next one with its number."""

    pid: int
    created: float

    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < SAME_INSTANT_S and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Service(Process):
    """A process of ours that serves: where it answers, what it was started with, who uses it, and whether `up` wants it to stay."""

    name: str
    url: str
    command: tuple[str, ...]
    stays: bool = False
    users: tuple[Process, ...] = ()

    def others(self) -> tuple[Process, ...]:
        """Users that live, besides this process."""
        return tuple(user for user in self.users if user.pid != os.getpid() and user.alive())

    def used_here(self, *, stays: bool = False) -> Service:
        """The same service, used by this process too."""
        return self.model_copy(update={"users": (*self.others(), this_process()), "stays": self.stays or stays})


def this_process() -> Process:
    """Who asks."""
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """The process that has this number now."""
    return Process(pid=pid, created=psutil.Process(pid).create_time())


def record(operations: OperationsSettings, service: Service) -> Service:
    """Write a service down; the file is whole at every instant."""
    path = _path(operations, service.name)
    partial = path.with_suffix(".tmp")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="utf-8") as stream:
        stream.write(service.model_dump_json())
    partial.replace(path)
    return service


def recorded(operations: OperationsSettings, name: str) -> Service | None:
    """The recorded service, if that very process is alive."""
    try:
        service = Service.model_validate_json(_path(operations, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return service if service.alive() else None


def forget(operations: OperationsSettings, name: str) -> None:
    """Remove a record."""
    _path(operations, name).unlink(missing_ok=True)


@contextmanager
def turn(operations: OperationsSettings, name: str) -> Iterator[None]:
    """Whoever starts or stops one service takes turns; the system ends the turn of a killed process."""
    folder = room(operations, "run")
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def room(operations: OperationsSettings, name: str) -> Path:
    """A folder of the state folder, with space to write; NoSpace or PreflightFailed when there is none."""
    folder, move = operations.var / name, "set DESK__OPERATIONS__VAR to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{os.getpid()}").open("w"):
            pass
        (folder / f".{os.getpid()}").unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"expected room to write in {folder}, found {error.strerror}; free space, or {move}") from error
        raise PreflightFailed(f"expected a folder of ours at {folder}, found {error.strerror}; mend that, or {move}") from error
    if (free := shutil.disk_usage(folder).free) < LEAST_FREE_BYTES:
        raise NoSpace(f"expected {LEAST_FREE_BYTES >> 20} MiB free for {folder}, found {free >> 20}; free space, or {move}")
    return folder


def _path(operations: OperationsSettings, name: str) -> Path:
    return operations.var / "run" / f"{name}.json"
