"""The tools around the code agree with each other: make words, pins, ranges, coverage of child processes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import RAN_TWICE

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINS = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_help_explains_every_word_that_is_meant_for_people() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    words = {line.split()[1] for line in said.splitlines()}
    assert {"help", "env", "run", "test", "check", "bench", "up", "down", "watch", "doctor", "clean-var"} <= words


def test_every_make_word_written_anywhere_exists() -> None:
    known = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml"), ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"]
    code = r"(?:`|^\s*(?:- run: |entry: |\$ )?)make ([a-z][a-z-]*)"

    unknown = [f"{page.name}: make {word}" for page in pages for word in re.findall(code, page.read_text(encoding="utf-8"), re.MULTILINE) if word not in known]

    assert [] == unknown


def test_every_dependency_is_pinned_inside_its_range() -> None:
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in PINS)}
    wanted = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]

    outside = [str(each) for each in wanted if not each.specifier.contains(pinned.get(canonicalize_name(each.name), "0"), prereleases=True)]

    assert [] == outside


def test_pins_are_plain_names_and_versions() -> None:
    assert [] == [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]


def test_the_workflow_and_the_hooks_are_valid_yaml() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    hooks = [hook["id"] for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"] for hook in repo["hooks"]]

    assert {"check", "test", "run"} == set(jobs)
    assert {"ruff", "mypy", "lint-imports", "gitleaks"} <= set(hooks)


def test_the_files_that_look_at_the_same_finished_runs_are_known_to_the_workers() -> None:
    """Else two workers would make those runs, each for itself."""
    files = (ROOT / "tests").rglob("test_*.py")

    looking = {str(file.relative_to(ROOT)) for file in files if re.search(r"^def test_.*\btwice: ", file.read_text(encoding="utf-8"), re.MULTILINE)}

    assert set(RAN_TWICE) == looking


def test_a_test_cannot_leave_the_machine() -> None:
    with pytest.raises(OSError, match="loopback only"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="loopback only"):
        socket.getaddrinfo("example.org", 443)


@pytest.mark.timeout(60)
def test_code_that_a_test_runs_in_another_process_is_measured(tmp_path: Path) -> None:
    """Coverage follows child processes by configuration alone."""
    test = tmp_path / "test_child.py"
    program = "import configs.vocabulary as v; v.Side.BUY.sign"
    test.write_text(f"import subprocess, sys\n\ndef test_child():\n    subprocess.run([sys.executable, '-c', {program!r}], check=True)\n", encoding="utf-8")
    report = tmp_path / "coverage.json"
    coverage = ["--cov=configs", f"--cov-report=json:{report}", f"--cov-config={ROOT / 'pyproject.toml'}"]

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-c",
            str(ROOT / "pyproject.toml"),
            f"--rootdir={tmp_path}",
            f"--confcutdir={tmp_path}",  # a conftest.py that lies above the temporary folder is not ours
            *coverage,
            str(test),
        ],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    measured = re.search(r'vocabulary\.py": \{"executed_lines": \[([^\]]*)\]', report.read_text(encoding="utf-8"))
    assert measured is not None
    assert len(measured[1].split(",")) > 20
