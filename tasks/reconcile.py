"""Every journal verified and folded: what each book holds."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact

from configs.operations import OperationsSettings
from desk.books.journal import Journal
from desk.chain import Chain
from tasks.values import Value


class Books(Value):
    """By session: entries that verify, steps, equity after the last one."""

    sessions: dict[str, str]


@task(name="verify_books")
def verify_books(operations: OperationsSettings) -> Books:
    """Read each journal beside its writer; JournalBroken names the first entry that does not fit."""
    sessions = {}
    for path in sorted((operations.var / "journal").glob("*.sqlite")):
        with Chain.reading(path) as chain:
            count, steps = chain.verify().count, Journal(chain, "").steps()
        last = f"equity {steps[-1].equity:.2f} at {steps[-1].closed_at.isoformat()}" if steps else "no step yet"
        sessions[path.stem] = f"{count} entries verify, {len(steps)} steps, {last}"
    rows = [{"session": name, "found": found} for name, found in sessions.items()] or [{"session": "none", "found": "no journal yet"}]
    create_table_artifact(key="books", table=rows, description="journals, verified and folded")
    return Books(sessions=sessions)
