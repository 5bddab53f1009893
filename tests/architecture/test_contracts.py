"""The import rules of pyproject.toml are kept, and each of them catches a violation planted for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]

# (contract, planted file, its text)
PLANTS = [
    ("floors: imports point only downwards", "data_contracts/planted.py", "import desk.errors"),
    ("floors: imports point only downwards", "desk/risk/planted.py", "def f():\n    from models import planted"),
    ("floors: imports point only downwards", "models/planted.py", "import tasks"),
    ("flows import tasks and configs, no floor below", "flows/planted.py", "import desk.errors"),
    ("flows import tasks and configs, no floor below", "flows/planted.py", "def f():\n    import models"),
    ("rooms of the desk: imports point only downwards", "desk/risk/planted.py", "from desk.execution import venue"),
    ("rooms of the desk: imports point only downwards", "desk/books/planted.py", "from desk.market import feed"),
    ("rooms of the desk: imports point only downwards", "desk/errors.py", "import desk.events"),
    ("rooms of the desk: imports point only downwards", "desk/attic/__init__.py", ""),
    ("no circles", "desk/risk/one.py", "import desk.risk.two"),
    ("the practice exchange is a neighbour: it imports nothing of ours but configs", "desk/practice_exchange/planted.py", "from desk import errors"),
    ("the practice exchange is reached only over the wire", "desk/market/planted.py", "from desk import practice_exchange"),
    ("settings are read only at the edge", "desk/risk/planted.py", "from configs.settings import Settings"),
    ("settings are read only at the edge", "models/planted.py", "from configs import settings"),
    ("prefect only in flows and tasks", "models/planted.py", "from prefect import task"),
    ("prefect only in flows and tasks", "desk/planted_log.py", "import prefect.logging"),
    *(
        ("torch, mlflow, optuna, onnx, onnxruntime, lightgbm only in models", file, f"import {library}")
        for file, library in [
            ("tasks/planted.py", "torch"),
            ("flows/planted.py", "mlflow.pytorch"),
            ("desk/strategy/planted.py", "onnxruntime"),
            ("desk/backtest/planted.py", "optuna"),
            ("desk/features/planted.py", "lightgbm"),
        ]
    ),
    ("ccxt only in desk.market and desk.execution", "desk/review/planted.py", "import ccxt"),
    ("ccxt only in desk.market and desk.execution", "tasks/planted.py", "def f():\n    import ccxt.pro"),
    ("great_expectations only in data_contracts", "tasks/planted.py", "import great_expectations"),
    ("hmmlearn only in desk.features.regime", "desk/features/planted.py", "from hmmlearn import hmm"),
]


def broken_contracts(house: Path) -> tuple[set[str], str]:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=house, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert "Contracts:" in said, said
    return {name for name in CONTRACTS if re.search(rf"^{re.escape(name)} BROKEN", said, re.MULTILINE)}, said


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the sources, to break rules in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PROJECT["tool"]["importlinter"]["root_packages"]:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=lambda folder, names: [n for n in names if not n.endswith(".py") and not (Path(folder) / n).is_dir()]
        )
    return tmp_path


def test_the_house_keeps_its_rules(house: Path) -> None:
    broken, said = broken_contracts(house)

    assert set() == broken, said


def test_every_rule_has_a_violation_planted_for_it() -> None:
    assert set(CONTRACTS) == {contract for contract, _, _ in PLANTS}


@pytest.mark.parametrize(("contract", "file", "text"), PLANTS)
def test_a_planted_violation_is_caught(house: Path, contract: str, file: str, text: str) -> None:
    planted = house / file
    planted.parent.mkdir(exist_ok=True)
    with planted.open("a", encoding="utf-8") as source:
        source.write(f"\n{text}\n")
    if contract == "no circles":
        (house / "desk/risk/two.py").write_text("def f():\n    import desk.risk.one\n", encoding="utf-8")
    (house / "models" / "planted.py").touch()

    broken, said = broken_contracts(house)

    assert contract in broken, said
