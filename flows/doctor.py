"""What is missing on this machine, and the command that mends it.

Standard library only: it must answer when nothing is installed yet. `python -m flows.doctor` and `tradewind doctor` end with 1 when something
is missing. It changes nothing and reads no settings file; a port or the state folder moved by the environment is respected.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "make env"
_GIB = 1024**3
_DISK_NEEDED = 2 * _GIB
_MEMORY_NEEDED = 2 * _GIB
_HEALTH_SECONDS = 2
_TRAPS = {
    "fastapi": "Prefect 3.8 cannot start its server on fastapi 0.151 or newer",
    "sqlalchemy": "on sqlalchemy 2.1 the scheduler of Prefect 3.8 creates no runs",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, when that is not enough, the command that mends it."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def diagnose(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> list[Check]:
    """Look at everything the desk needs here; the order is the order in which to mend."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    var = root / environ.get("DESK__OPERATIONS__VAR", "var")
    return [
        _python(project["requires-python"]),
        *(_dependency(requirement) for requirement in project["dependencies"]),
        _torch_build(),
        _git(root),
        _writable(var),
        _disk(var),
        _memory(),
        _port("prefect", environ.get("DESK__OPERATIONS__PREFECT_PORT", "4200"), "/api/health"),
        _port("mlflow", environ.get("DESK__OPERATIONS__MLFLOW_PORT", "5000"), "/health"),
    ]


def report(checks: list[Check]) -> str:
    """One line a check, then how many are missing."""
    lines = [
        f"{'ok     ' if check.ok else 'MISSING'}  {check.name:<22} {check.found}" + ("" if check.ok else f"\n         mend: {check.mend}") for check in checks
    ]
    missing = sum(not check.ok for check in checks)
    return "\n".join([*lines, "", "everything is in place" if not missing else f"{missing} missing; mend from the top, then ask again"])


def main() -> int:
    """Print the report; 0 when everything is in place, 1 otherwise."""
    checks = diagnose()
    sys.stdout.write(report(checks) + "\n")
    return int(not all(check.ok for check in checks))


def satisfies(version: str, specifier: str) -> bool:
    """Whether a release number fits a specifier such as `>=3.8,<4` or `~=2.13.0`; local parts (`+cpu`) and pre-release marks are ignored."""
    here = _numbers(version)
    return all(_holds(here, *_operator(clause)) for clause in specifier.split(",") if clause.strip())


def _operator(clause: str) -> tuple[str, tuple[int, ...]]:
    found = re.fullmatch(r"\s*(>=|<=|==|!=|~=|<|>)\s*([\w.]+)\s*", clause)
    if found is None:
        raise ValueError(f"expected a version clause such as >=1.2, found {clause!r}")
    return found[1], _numbers(found[2])


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def _holds(here: tuple[int, ...], operator: str, bound: tuple[int, ...]) -> bool:
    width = max(len(here), len(bound))
    ours, theirs = (numbers + (0,) * (width - len(numbers)) for numbers in (here, bound))
    comparisons: dict[str, Callable[[], bool]] = {
        ">=": lambda: ours >= theirs,
        "<=": lambda: ours <= theirs,
        ">": lambda: ours > theirs,
        "<": lambda: ours < theirs,
        "==": lambda: ours == theirs,
        "!=": lambda: ours != theirs,
        "~=": lambda: ours >= theirs and here[: len(bound) - 1] == bound[:-1],
    }
    return comparisons[operator]()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _python(wanted: str) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", satisfies(version, wanted), f"{version}, wanted {wanted}", f"install Python 3.11, then {INSTALL} PYTHON=python3.11")


def _dependency(requirement: str) -> Check:
    found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(.*)", requirement)
    name, wanted = (found[1], found[2]) if found else (requirement, "")
    version = _installed(name)
    if version is None:
        return Check(name, False, f"not installed, wanted {wanted}", INSTALL)
    fits = satisfies(version, wanted)
    why = f" ({_TRAPS[name]})" if name in _TRAPS and not fits else ""
    return Check(name, fits, f"{version}, wanted {wanted}{why}", f"{sys.executable} -m pip install -c constraints.txt '{name}{wanted}'")


def _torch_build() -> Check:
    version = _installed("torch")
    if version is None:
        return Check("torch build", False, "torch is not installed", INSTALL)
    build = version.partition("+")[2] or "the default build of this platform"
    driver = "an NVIDIA driver is here" if shutil.which("nvidia-smi") else "no NVIDIA driver"
    return Check("torch build", True, f"{build}; {driver}")


def _git(root: Path) -> Check:
    if shutil.which("git") is None:
        return Check("git", False, "not on the PATH; every run records the commit it came from", "install git")
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if asked.returncode:
        return Check("git", False, f"no commit here: {asked.stderr.strip()}", "git init && git add -A && git commit -m 'import'")
    return Check("git", True, f"at commit {asked.stdout.strip()}")


def _existing(folder: Path) -> Path:
    return next(part for part in (folder, *folder.resolve().parents) if part.exists())


def _writable(var: Path) -> Check:
    place = _existing(var)
    return Check(
        "state folder",
        place.is_dir() and os.access(place, os.W_OK | os.X_OK),
        str(var),
        f"chown {os.environ.get('USER', 'the-user')} {place}, or set DESK__OPERATIONS__VAR",
    )


def _disk(var: Path) -> Check:
    free = shutil.disk_usage(_existing(var)).free
    return Check("disk", free >= _DISK_NEEDED, f"{free / _GIB:.1f} GiB free, wanted 2", "make clean-var, or set DESK__OPERATIONS__VAR to a larger disk")


def _memory() -> Check:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        listing = Path("/proc/meminfo")
        available = re.search(r"MemAvailable:\s+(\d+) kB", listing.read_text()) if listing.exists() else None
    except (OSError, ValueError):
        return Check("memory", True, "this platform does not say how much is free")
    free = int(available[1]) * 1024 if available else free
    return Check("memory", free >= _MEMORY_NEEDED, f"{free / _GIB:.1f} GiB available, wanted 2", "end other programs, or add memory")


def _port(service: str, port: str, health: str) -> Check:
    mend = f"end the program on port {port}, or set DESK__OPERATIONS__{service.upper()}_PORT"
    if not port.isdigit():
        return Check(f"{service} port", False, f"expected a number, found {port!r}", mend)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except (OSError, OverflowError):
            ours = _answers(f"http://127.0.0.1:{port}{health}")
            return Check(f"{service} port", ours, f"{port} {f'serves {service} already' if ours else 'is taken by another program'}", mend)
    return Check(f"{service} port", True, f"{port} is free")


def _answers(url: str) -> bool:
    try:
        # no proxy: the question goes to this very machine
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=_HEALTH_SECONDS) as answer:
            return bool(answer.status == 200 and answer.read(64).strip().lower() in {b"true", b"ok"})
    except (OSError, urllib.error.URLError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main())
