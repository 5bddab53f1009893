"""The page about faults says what the tests prove, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.catalogue import ROWS
from tests.faults.table import PAGE

PRINT = """
import contextlib, io, sys
from tests.faults.table import collected, page
with contextlib.redirect_stdout(io.StringIO()):
    found = collected()
sys.stdout.write(page(found))
"""


def test_every_row_of_the_catalogue_has_its_proof() -> None:
    proven = {int(line.split("|")[1]) for line in PAGE.read_text(encoding="utf-8").splitlines() if "::" in line and line.startswith("| ")}

    assert {row.number for row in ROWS} == proven


@pytest.mark.timeout(60)
def test_the_page_is_what_the_tests_say() -> None:
    made = subprocess.run([sys.executable, "-c", PRINT], cwd=PAGE.parents[1], capture_output=True, text=True, check=True).stdout

    assert made == PAGE.read_text(encoding="utf-8")
