"""`tradewind prove`: every proof of the system, each a generator with a seed and a size in a process of its own.

A generator is `tests/proofs/NAME.py`; it prints one JSON line and exits non-zero when its claim is not met. Lines are kept in `<var>/proofs.jsonl` with
the commit they were made on, so that a long series can be stopped and taken up again.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "proofs"
LEDGER = "proofs.jsonl"


@dataclass(frozen=True, slots=True)
class Series:
    """What is to be proven and how: names (empty: all), a seed, a size (None: the declared one, or the full one), parameters of the generators."""

    only: tuple[str, ...] = ()
    seed: int = 1
    runs: int | None = None
    full: bool = False
    parameters: tuple[str, ...] = ()


def proofs() -> dict[str, Path]:
    """Every generator by its name, in order."""
    return {path.stem.replace("_", "-"): path for path in sorted(FOLDER.glob("[!_]*.py"))}


def claims() -> dict[str, str]:
    """What each proof claims: the first line of its generator."""
    texts = {name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for name, path in proofs().items()}
    return {name: text.split("\n")[0].removeprefix("Claim: ") for name, text in texts.items()}


def unknown(series: Series) -> str:
    """What is wrong with the names of a series; empty when nothing is."""
    known = proofs()
    strangers = [name for name in series.only if name not in known]
    return f"expected proofs among {', '.join(known)}, found {', '.join(strangers)}" if strangers else ""


def prove(series: Series, var: Path, commit: str) -> Iterator[dict[str, Any]]:
    """Run the series and hand out each proof's line once it is kept. In a full series, what is proven on `commit` is not run again."""
    known, done = proofs(), _met(var / LEDGER)
    for name in series.only or known:
        if series.full and (name, series.seed, commit) in done:
            continue
        verdict = _generate(known[name], series)
        _keep(var / LEDGER, {**verdict, "full": series.full, "commit": commit, "at": datetime.now(UTC).isoformat(timespec="seconds")})
        yield verdict


def _generate(path: Path, series: Series) -> dict[str, Any]:
    """One generator's line; a generator that died without one has proven nothing."""
    command = [sys.executable, str(path), "--seed", str(series.seed)]
    command += ["--runs", str(series.runs)] if series.runs is not None else []
    command += ["--full"] if series.full else []
    command += [word for parameter in series.parameters for word in ("--set", parameter)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    try:
        verdict: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        name = path.stem.replace("_", "-")
        return {"name": name, "seed": series.seed, "runs": 0, "value": None, "unit": "", "goal": "", "met": False, "detail": f"ended with {done.returncode}"}
    return verdict


def commit_of_tree() -> str:
    """The commit under proof, marked when the working tree differs from it."""
    answer = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--dirty"], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    return answer.stdout.strip() or "unknown"


def _met(ledger: Path) -> set[tuple[str, int, str]]:
    """(name, seed, commit) of every full proof that was met. A changed working tree proves nothing for later."""
    if not ledger.exists():
        return set()
    rows: Sequence[dict[str, Any]] = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    return {(row["name"], row["seed"], row["commit"]) for row in rows if row["full"] and row["met"] and not row["commit"].endswith("-dirty")}


def _keep(ledger: Path, row: dict[str, Any]) -> None:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
