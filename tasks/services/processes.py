"""Start a process that outlives us, wait until it answers, stop it and its children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from configs.operations import OperationsSettings
from desk.errors import PortInUse, PreflightFailed
from tasks.services.environment import HOST, service_environment
from tasks.services.records import PRIVATE, Process, Service, forget, process_of, record, recorded, room

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.2
FULL_LOG_BYTES = 10 * 2**20
LAST_WORDS = 3
# In the environment of a service and of all it starts.
MARK = "TRADEWIND_SERVICE"

# Ours until the interpreter ends: a collected Popen would complain that its process still runs.
_children: list[subprocess.Popen[bytes]] = []


def start(operations: OperationsSettings, name: str, url: str, command: tuple[str, ...], *, said: Path | None = None) -> Service:
    """Start and record a service in a session of its own; what it prints goes to its log, or to the private file `said`."""
    log = room(operations, "log") / f"{name}.log"
    if log.exists() and log.stat().st_size > FULL_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if said is None else os.O_TRUNC)
    environment = {**os.environ, **service_environment(operations), MARK: _mark(operations, name), "PWD": str(ROOT)}
    with log.open("ab") as complaints, os.fdopen(os.open(said or log, flags, PRIVATE), "wb") as words:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=complaints, cwd=ROOT, env=environment, start_new_session=True)
    _children.append(child)
    return record(operations, Service(**process_of(child.pid).model_dump(), name=name, url=url, command=command).used_here())


def ready(operations: OperationsSettings, service: Service, answers: Callable[[], bool]) -> Service:
    """Wait until a service answers. One that dies, or never does, is stopped and its last words are told."""
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not answers():
            if not service.alive() or time.monotonic() > deadline:
                raise PreflightFailed(f"expected {service.name} to answer within {START_TIMEOUT_S:.0f} s, found: {last_words(operations, service.name)}")
            time.sleep(LOOK_EVERY_S)
    except BaseException:
        stop(operations, service.name)
        raise
    return service


def stop(operations: OperationsSettings, name: str, *, children_first: bool = False) -> bool:
    """Ask a recorded service to end, then insist, with everything it started; False when nothing of it was there.

    `children_first` asks its children at the same time: a worker would wait for its runs, and they would outlive it.
    """
    service = recorded(operations, name)
    family = family_of(operations, name, service)
    _signal(family if children_first or service is None else family[:1], signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
    _signal(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=STOP_TIMEOUT_S)
    forget(operations, name)
    return bool(family)


def family_of(operations: OperationsSettings, name: str, service: Service | None) -> list[psutil.Process]:
    """A service and all it started, itself first; when it was killed, what it left behind: its runs, or the child that holds its port.

    Those are known by the mark that they inherited in their environment, which no stranger has.
    """
    head = [psutil.Process(service.pid)] if service else []
    below = head[0].children(recursive=True) if head else []
    return list(dict.fromkeys([*head, *below, *(each for each in psutil.process_iter() if _mark_of(each) == _mark(operations, name))]))


def _mark(operations: OperationsSettings, name: str) -> str:
    return f"{name} of {operations.var.resolve()}"


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None


def refuse_taken_port(port: int, name: str) -> None:
    """PortInUse, with the holder's name when the system tells it and the setting that moves us away."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            mend = f"stop that, or set DESK__OPERATIONS__{name.upper()}_PORT to another port"
            raise PortInUse(f"expected port {port} to be free for {name}, found it taken by {_holder(port)}; {mend}") from error


def healthy(url: str) -> bool:
    """Whether a health address answers with 200."""
    try:
        return bool(ask(url) is not None)
    except (OSError, ValueError):
        return False


def ask(url: str, question: dict[str, Any] | None = None) -> Any:
    """The answer of a local service, from JSON when it is JSON; OSError when there is none. Never through a proxy."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=ANSWER_TIMEOUT_S) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text


def last_words(operations: OperationsSettings, name: str) -> str:
    """The end of a service's log, and where the rest is."""
    path = operations.var / "log" / f"{name}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return f"{' | '.join(line.strip() for line in lines[-LAST_WORDS:]) or 'no word'} (all of it in {path})"


def _holder(port: int) -> str:
    try:
        listening = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN]
        return next((f"process {pid} ({psutil.Process(pid).name()})" for pid in listening if pid), "another program")
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return "another program"


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def named(processes: Sequence[Process]) -> str:
    """Processes, for a message."""
    return ", ".join(f"process {each.pid}" for each in processes)
