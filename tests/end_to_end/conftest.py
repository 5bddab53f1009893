"""A tiny market that runs from candles to report, through the console, in a state folder and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.operations import OperationsSettings
from desk.books.journal import Journal, Step
from desk.chain import Chain
from desk.market.lake import Lake
from tasks.services import Greeting, down, ensure_prefect, recorded_exchange
from tasks.services.processes import ask
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "models", "desk", "data_contracts", "configs")
TINY = {
    "MARKET__PRACTICE__HISTORY_BARS": "1200",
    "MARKET__PRACTICE__STREAM_BARS": "200",
    "MARKET__PRACTICE__SYMBOLS": '["BTC/USDT", "ETH/USDT"]',
    "LEARNING__FOLDS__N_FOLDS": "2",
    "LEARNING__TUNING__TRIALS": "2",
    "LEARNING__TUNING__STEPS": "6",
    "LEARNING__TRAINING__STEPS": "8",
    "LEARNING__TRAINING__CHECKPOINT_EVERY_STEPS": "4",
    "LEARNING__TRAINING__BATCH_BLOCKS": "4",
    "TRADING__PAPER_BARS": "24",
}
LOOK_EVERY_S = 0.002


@dataclass
class Run:
    """`tradewind run` in a process of its own; what it says is read all the time, so that it never waits for us."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    @property
    def said(self) -> str:
        """Everything printed, without the terminal's line breaks."""
        return " ".join("".join(self.lines).split())

    def heard(self, *words: str) -> bool:
        """Whether one line holds all these words."""
        return any(all(word in line for word in words) for line in list(self.lines))

    def until(self, moment: Callable[[], bool]) -> None:
        """Wait until something is so; a run that ended before is a test that tests nothing."""
        pause = threading.Event()
        while not moment():
            if self.process.poll() is not None:
                pytest.fail(f"the run ended with {self.process.returncode} before the moment came; it said:\n{''.join(self.lines)}")
            pause.wait(LOOK_EVERY_S)

    def kill(self) -> None:
        """kill -9 of the flow's process."""
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def completed(self) -> Run:
        """Wait for the end, which must be a good one."""
        self._ended()
        assert 0 == self.process.returncode, "".join(self.lines)
        return self

    def _ended(self) -> None:
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Installation:
    """A state folder, ports, and what lies in it, read without the code that wrote it where that is easy."""

    operations: OperationsSettings
    tree: Path
    runs: list[Run] = field(default_factory=list)

    @property
    def var(self) -> Path:
        """The state folder."""
        return self.operations.var

    def start(self) -> Run:
        """Start `tradewind run` from a folder that is not the repository."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        settings = {**TINY, "OPERATIONS__VAR": str(self.var), "OPERATIONS__PREFECT_PORT": str(self.operations.prefect_port)}
        environment = {**kept, "PYTHONPATH": str(self.tree), "COLUMNS": "200", **{f"DESK__{name}": value for name, value in settings.items()}}
        command = [sys.executable, "-m", "flows.cli", "run"]
        process = subprocess.Popen(command, cwd=self.var.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.runs.append(Run(process))
        return self.runs[-1]

    def processes(self) -> list[psutil.Process]:
        """Every living process that this state folder belongs to: consoles, services, and what those started."""
        return [each for each in psutil.process_iter() if _environment(each).get("DESK__OPERATIONS__VAR") == str(self.var)]

    def lake(self) -> Lake:
        """The lake."""
        return Lake(str(self.var / "lake"))

    def tables(self) -> dict[str, str]:
        """Content of every table, read and verified whole, by its name. A key that is there twice does not pass the lake's own reading."""
        names = [log.parent.relative_to(self.var / "lake") for log in sorted((self.var / "lake").rglob("_delta_log"))]
        refs = [self.lake().ref(name.parts[0], name.parts[1]) for name in names]  # type: ignore[arg-type]
        return {f"{ref.stage}/{ref.table}": f"{self.lake().read(ref).height} rows {ref.content_hash}" for ref in refs}

    def commits(self) -> list[str]:
        """Every Delta commit of every table: the files that say so."""
        return sorted(str(path.relative_to(self.var)) for path in (self.var / "lake").rglob("_delta_log/*.json"))

    def steps(self) -> tuple[Step, ...]:
        """The paper account's journal, verified."""
        (path,) = (self.var / "journal").glob("*.sqlite")
        with Chain.reading(path) as chain:
            chain.verify()
            return Journal(chain, "").steps()

    def entries(self) -> Counter[str]:
        """How many entries of which kind are in the journal, asked of SQLite."""
        found = list((self.var / "journal").glob("*.sqlite"))
        return Counter(kind for path in found for (kind,) in rows(path, "SELECT kind FROM chain"))

    def trials(self) -> list[tuple[str, int, str]]:
        """(study, number, state) of every trial in the ledger, which is verified."""
        with Chain.reading(self.var / "ledger" / "trials.sqlite") as chain:
            chain.verify()
            return [(link.payload["study"], link.payload["number"], link.payload["state"]) for link in chain.entries(kind="trial")]

    def trial_rows(self) -> list[tuple[Any, ...]]:
        """What the ledger holds while somebody writes it."""
        return rows(self.var / "ledger" / "trials.sqlite", "SELECT sequence FROM chain WHERE kind = 'trial'")

    def registry_tables(self) -> list[tuple[Any, ...]]:
        """The tables that MLflow has made so far."""
        return rows(self.var / "mlflow" / "mlflow.db", "SELECT name FROM sqlite_master WHERE type = 'table'")

    def versions(self) -> list[tuple[int, str]]:
        """(version, identity) of every registered model."""
        question = "SELECT v.version, t.value FROM model_versions v LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version"
        return [(int(version), identity) for version, identity in rows(self.var / "mlflow" / "mlflow.db", f"{question} AND t.key = 'identity'")]

    def recorded_runs(self) -> list[tuple[str, str]]:
        """(identity, status) of every MLflow run."""
        question = "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'identity'"
        return [(identity, status) for identity, status in rows(self.var / "mlflow" / "mlflow.db", question)]


def rows(path: Path, question: str) -> list[tuple[Any, ...]]:
    """What SQLite answers, without writing; nothing when there is no such file or table yet."""
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return []
    try:
        return database.execute(question).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        database.close()


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return {}


@pytest.fixture(scope="session")
def copy_tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """`copy_tree()` is the source as it stands now, in a folder of its own."""

    def copy() -> Path:
        tree = tmp_path_factory.mktemp("tree")
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        return tree

    return copy


@pytest.fixture(scope="session")
def new_installation(tmp_path_factory: pytest.TempPathFactory, copy_tree: Callable[[], Path]) -> Iterator[Callable[[], Installation]]:
    """`new_installation()` is an empty state folder on ports of its own; whatever still runs for it is stopped at the end, and nothing may be left."""
    made: list[Installation] = []
    # a source that is edited between two runs is computed again, and rightly so: these run on one that nobody edits
    tree = copy_tree()

    def make() -> Installation:
        var = (tmp_path_factory.mktemp("installation") / "var").resolve()
        made.append(Installation(OperationsSettings(var=var, prefect_port=free_port(), mlflow_port=free_port()), tree))
        return made[-1]

    yield make

    for installation in made:
        for run in installation.runs:
            run.process.kill()
            run.process.wait()
        list(down(installation.operations))
    left = [process.cmdline() for installation in made for process in installation.processes()]
    assert [] == left


@dataclass(frozen=True)
class Twice:
    """The same command run to its end twice, and what was there between the two and after them."""

    installation: Installation
    first: Run
    second: Run
    left_running: list[psutil.Process]
    exchange: Greeting
    between: dict[str, Any]
    after: dict[str, Any]

    def api(self, path: str, **question: Any) -> Any:
        """An answer of the Prefect server that both runs reported to."""
        return ask(f"http://127.0.0.1:{self.installation.operations.prefect_port}/api/{path}", question)


@pytest.fixture(scope="session")
def twice(new_installation: Callable[[], Installation]) -> Twice:
    """Two uninterrupted runs: the first starts and stops its own services, the second finds them kept running by us."""
    installation = new_installation()
    first = installation.start().completed()
    left_running = installation.processes()
    ensure_prefect(installation.operations)
    exchange = recorded_exchange(installation.operations)
    between = _seen(installation, exchange)
    second = installation.start().completed()
    return Twice(installation, first, second, left_running, exchange, between, _seen(installation, exchange))


def _seen(installation: Installation, exchange: Greeting) -> dict[str, Any]:
    return {
        "commits": installation.commits(),
        "tables": installation.tables(),
        "versions": installation.versions(),
        "runs": installation.recorded_runs(),
        "trials": installation.trials(),
        "steps": installation.steps(),
        "orders": ask(f"{exchange.admin}/orders"),
        "market": json.loads(json.dumps(ask(f"{exchange.admin}/market"))),
    }
