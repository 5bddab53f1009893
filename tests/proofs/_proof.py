"""What every proof is: a generator with a seed and a size, one JSON line, an exit status. And the other side of the wire, for those that need one."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30


@dataclass(frozen=True)
class Verdict:
    """`value` in `unit` against `goal` (a comparison in words); `detail` is anything JSON can carry."""

    runs: int
    value: float
    unit: str
    goal: str
    met: bool
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """How many runs `make prove` makes, and `make prove-full`."""

    runs: int
    full: int


def prove(name: str, size: Size, generator: Callable[[int, int], Verdict]) -> int:
    """Read `--seed N [--runs N] [--full] [--set CONSTANT=VALUE ...]`, run the generator, print its line. 0: met; 1: unmet."""
    reader = argparse.ArgumentParser(description=generator.__doc__)
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--runs", type=int)
    reader.add_argument("--full", action="store_true")
    reader.add_argument("--set", action="append", default=[], metavar="CONSTANT=VALUE", help="a constant of the generator, as JSON")
    given = reader.parse_args()
    for assignment in given.set:
        constant, _, value = assignment.partition("=")
        if constant.upper() not in generator.__globals__:
            reader.error(f"expected a constant of this proof, found {constant}")
        generator.__globals__[constant.upper()] = json.loads(value)
    verdict = generator(given.seed, given.runs or (size.full if given.full else size.runs))
    sys.stdout.write(json.dumps({"name": name, "seed": given.seed, **asdict(verdict)}) + "\n")
    return 0 if verdict.met else 1


def tell(line: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def exchange(*arguments: str) -> Iterator[dict[str, Any]]:
    """`with exchange("--seed", "3") as greeting`: a fresh practice exchange on a free loopback port, stopped at the end."""
    command = [sys.executable, "-m", "desk.practice_exchange", *arguments]
    # Its traceback for every client that died in mid-sentence is no news here.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


def ask(greeting: Mapping[str, Any], path: str, body: Mapping[str, Any] | None = None) -> Any:
    """One question on the exchange's admin port."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(greeting["admin"] + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.loads(answer.read())


def by_tests(files: Sequence[str], seed: int, steps: int) -> Verdict:
    """State machines of the suite at another size: each takes `steps` steps, drawn afresh from `seed`."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", f"--hypothesis-seed={seed}", *files]
    environment = {**os.environ, "TRADEWIND_PROVE_STEPS": str(steps)}
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    words = done.stdout.strip().splitlines()
    detail = {"files": list(files), "seconds": round(time.monotonic() - began, 1), "said": words[-1:] if done.returncode == 0 else words[-30:]}
    return Verdict(steps, done.returncode, "exit status", "0", done.returncode == 0, detail)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
