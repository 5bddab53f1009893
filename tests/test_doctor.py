"""The doctor: works with nothing installed, says what is missing and how to mend it."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from flows.doctor import ROOT, Check, diagnose, report, satisfies


def check_named(name: str, environ: dict[str, str], root: Path = ROOT) -> Check:
    return next(check for check in diagnose(environ, root) if check.name == name)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_it_needs_no_third_party_package() -> None:
    """`-S -E` hides every installed package, `-X importtime` proves that none was reached for."""
    done = subprocess.run([sys.executable, "-S", "-E", "-m", "flows.doctor"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert "" == done.stderr
    assert "MISSING  torch                  not installed" in done.stdout
    assert "mend: make env" in done.stdout


def test_every_dependency_of_this_environment_is_in_its_range() -> None:
    missing = [check for check in diagnose({"DESK__OPERATIONS__PREFECT_PORT": closed_port(), "DESK__OPERATIONS__MLFLOW_PORT": closed_port()}) if not check.ok]

    assert [] == [check for check in missing if check.name not in {"disk", "memory"}]


def project(folder: Path, dependency: str, python: str = ">=3.11") -> Path:
    (folder / "pyproject.toml").write_text(f'[project]\nrequires-python = "{python}"\ndependencies = ["{dependency}"]\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("dependency", "name", "found"),
    [
        ("loguru>=99", "loguru", "wanted >=99"),
        ("fastapi<0.1", "fastapi", "Prefect 3.8 cannot start its server on fastapi 0.151 or newer"),
        ("no-such-package[extra]>=1,<2", "no-such-package", "not installed, wanted >=1,<2"),
    ],
)
def test_a_dependency_out_of_range_names_the_command_that_mends_it(tmp_path: Path, dependency: str, name: str, found: str) -> None:
    check = check_named(name, {}, project(tmp_path, dependency))

    assert not check.ok
    assert found in check.found
    assert "pip install -c constraints.txt" in check.mend or "make env" == check.mend


def test_a_python_too_old_is_told(tmp_path: Path) -> None:
    check = check_named("python", {}, project(tmp_path, "loguru", python=">=4"))

    assert not check.ok
    assert "PYTHON=python3.11" in check.mend


def test_a_folder_without_a_commit_is_told(tmp_path: Path) -> None:
    check = check_named("git", {}, project(tmp_path, "loguru"))

    assert not check.ok


@pytest.mark.parametrize("service", ["prefect", "mlflow"])
def test_a_port_is_free_or_taken_by_a_stranger(service: str) -> None:
    variable = f"DESK__OPERATIONS__{service.upper()}_PORT"

    free = check_named(f"{service} port", {variable: closed_port()})
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = check_named(f"{service} port", {variable: str(stranger.getsockname()[1])})
    odd = check_named(f"{service} port", {variable: "x"})

    assert (True, False, False) == (free.ok, taken.ok, odd.ok)
    assert variable in taken.mend


@pytest.fixture
def healthy_server() -> Iterator[int]:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true" if self.path == "/api/health" else b"OK")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("service", ["prefect", "mlflow"])
def test_a_port_that_our_own_server_holds_is_fine(service: str, healthy_server: int) -> None:
    check = check_named(f"{service} port", {f"DESK__OPERATIONS__{service.upper()}_PORT": str(healthy_server)})

    assert check.ok
    assert f"serves {service} already" in check.found


def test_a_state_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    """A file stands where the folder should be: refused for every user, root included."""
    (tmp_path / "var").write_text("in the way", encoding="utf-8")

    assert not check_named("state folder", {"DESK__OPERATIONS__VAR": str(tmp_path / "var")}).ok
    assert check_named("state folder", {"DESK__OPERATIONS__VAR": str(tmp_path / "new" / "deep")}).ok


def test_nothing_is_created_by_looking(tmp_path: Path) -> None:
    diagnose({"DESK__OPERATIONS__VAR": str(tmp_path / "var")})

    assert not (tmp_path / "var").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is needed to be hidden")
def test_a_machine_without_git_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "flows.doctor"], cwd=ROOT, env={**os.environ, "PATH": ""}, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert "install git" in done.stdout


def test_the_report_counts_what_is_missing() -> None:
    assert report([Check("a", True, "1")]).endswith("everything is in place")
    assert "1 missing" in report([Check("a", True, "1"), Check("b", False, "none", "do b")])


@given(
    release=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    local=st.sampled_from(["", "+cpu", "+cu130"]),
    clauses=st.lists(st.tuples(st.sampled_from([">=", "<=", "<", ">", "==", "!=", "~="]), st.lists(st.integers(0, 20), min_size=2, max_size=3)), max_size=3),
)
def test_version_ranges_mean_what_packaging_means(release: list[int], local: str, clauses: list[tuple[str, list[int]]]) -> None:
    version, specifier = ".".join(map(str, release)), ",".join(operator + ".".join(map(str, bound)) for operator, bound in clauses)

    assert SpecifierSet(specifier).contains(version) == satisfies(version + local, specifier)
