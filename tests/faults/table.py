"""Writes docs/faults.md: every row of the fault matrix, how it is set off, and the test that is its proof. `python -m tests.faults.table`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.catalogue import ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
HEAD = """# Faults

What exchanges, lines and processes have done to trading systems, as their users reported it, and the test that does it to this one. Each test
injects the fault at a practice exchange process, or kills a real process, while the live path trades; the exchange's own ledger is the oracle: no
order twice, none unaccounted for, no fill lost or invented, a book that equals the account. `make test` runs them all. This page is generated
(`python -m tests.faults.table`) and held to the tests by `tests/faults/test_table.py`.

| row | fault | set off by | proof |
| --- | --- | --- | --- |
"""


class Collector:
    """Asks pytest which test carries which row."""

    def __init__(self) -> None:
        self.proofs: dict[int, set[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called by pytest once everything is collected."""
        for item in session.items:
            for marker in item.iter_markers("row"):
                name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
                self.proofs.setdefault(marker.args[0], set()).add(name)


def collected() -> dict[int, set[str]]:
    """Tests by row."""
    collector = Collector()
    found = pytest.main(["--collect-only", "-qq", "--no-header", "-p", "no:cacheprovider", str(Path(__file__).parent)], plugins=[collector])
    assert found == pytest.ExitCode.OK
    return collector.proofs


def page(proofs: dict[int, set[str]]) -> str:
    """The page."""
    lines = [f"| {row.number} | {row.title} | {cause(row)} | {', '.join(sorted(proofs.get(row.number, ()))) or 'none yet'} |" for row in ROWS]
    return HEAD + "\n".join(lines) + "\n"


def cause(row: Row) -> str:
    """The faults planned at the exchange, and what else is done."""
    planned = ", ".join(f"`{fault['kind']}`" for fault in row.faults)
    return "; ".join(filter(None, (planned, row.action)))


if __name__ == "__main__":
    PAGE.write_text(page(collected()), encoding="utf-8")
