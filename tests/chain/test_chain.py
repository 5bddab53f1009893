"""The chain keeps everything it was given, in order, and shows it when somebody else had a hand in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from desk.chain import GENESIS, MEMORY, Chain, Entry, Head
from desk.errors import JournalBroken, JournalStalled

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def entry(number: int, kind: str = "note") -> Entry:
    return Entry(NOON, kind, {"number": number, "text": "ä"})


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    """A closed chain of five entries."""
    path = tmp_path / "chain.sqlite"
    with Chain(path, sync=False) as chain:
        chain.append([entry(n) for n in range(1, 4)])
        chain.append([entry(4, "answer"), entry(5)])
    return path


def test_entries_come_back_as_they_were_written(chain_file: Path) -> None:
    with Chain(chain_file, sync=True) as chain:
        numbers = [link.payload["number"] for link in chain.entries()]
        answers = [(link.sequence, link.at, link.payload) for link in chain.entries(after=2, kind="answer")]

    assert numbers == [1, 2, 3, 4, 5]
    assert answers == [(4, NOON, {"number": 4, "text": "ä"})]


def test_an_empty_chain_stands_at_genesis() -> None:
    with Chain(MEMORY, sync=False) as chain:
        assert chain.head == Head(0, GENESIS) == chain.verify()


def test_a_reopened_chain_goes_on_from_its_head(chain_file: Path) -> None:
    with Chain(chain_file, sync=False) as chain:
        head = chain.append([entry(6)])

        assert head == chain.head == chain.verify()
        assert head.count == 6


def test_an_append_is_all_or_nothing() -> None:
    """NaN has no JSON spelling: the entry before it in the same append must not stay behind."""
    with Chain(MEMORY, sync=False) as chain:
        chain.append([entry(1)])

        with pytest.raises(ValueError, match="Out of range"):
            chain.append([entry(2), Entry(NOON, "note", {"value": float("nan")})])

        assert chain.verify() == chain.head
        assert chain.head.count == 1


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE chain SET payload = replace(payload, '3', '8') WHERE sequence = 3", 3),
        ("UPDATE chain SET at = '2024-01-01T12:00:01+00:00' WHERE sequence = 2", 2),
        ("UPDATE chain SET kind = 'answer' WHERE sequence = 5", 5),
        ("UPDATE chain SET hash = 'f' || substr(hash, 2), payload = '{}' WHERE sequence = 1", 1),
        ("DELETE FROM chain WHERE sequence = 4", 4),
        ("INSERT INTO chain SELECT 6, at, kind, payload, previous, hash FROM chain WHERE sequence = 5", 6),
    ],
)
def test_tampering_is_found_where_it_happened(chain_file: Path, tampering: str, broken: int) -> None:
    database = sqlite3.connect(chain_file)
    database.execute(tampering)
    database.commit()
    database.close()

    with Chain(chain_file, sync=False) as chain, pytest.raises(JournalBroken, match=f"expected entry {broken} to follow"):
        chain.verify()


def test_a_cut_tail_shows_against_a_head_kept_elsewhere(chain_file: Path) -> None:
    with Chain(chain_file, sync=False) as chain:
        kept = chain.head
    database = sqlite3.connect(chain_file)
    database.execute("DELETE FROM chain WHERE sequence = 5")
    database.commit()
    database.close()

    with Chain(chain_file, sync=False) as chain:
        assert chain.verify() != kept


def test_a_second_writer_is_refused(chain_file: Path) -> None:
    with Chain(chain_file, sync=False), pytest.raises(JournalBroken, match="only writer"):
        Chain(chain_file, sync=False)

    Chain(chain_file, sync=False).close()


def test_a_killed_writer_leaves_the_door_open(chain_file: Path) -> None:
    """The lock belongs to the process: kill -9 releases it, and what was appended is there."""
    script = (
        "import os, signal, sys\nfrom datetime import UTC, datetime\nfrom desk.chain import Chain, Entry\n"
        "Chain(sys.argv[1], sync=True).append([Entry(datetime(2024, 1, 1, tzinfo=UTC), 'last', {})])\nos.kill(os.getpid(), signal.SIGKILL)"
    )

    killed = subprocess.run([sys.executable, "-c", script, str(chain_file)], check=False)

    assert killed.returncode == -9
    with Chain(chain_file, sync=False) as chain:
        assert chain.verify().count == 6
        assert [link.sequence for link in chain.entries(kind="last")] == [6]


def test_a_file_that_is_no_chain_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    path.write_text("not a database, but long enough to look like one if nobody reads it" * 20)

    with pytest.raises(JournalBroken, match=r"chain\.sqlite"):
        Chain(path, sync=False)


def test_a_chain_of_another_schema_is_refused(chain_file: Path) -> None:
    database = sqlite3.connect(chain_file)
    database.execute("UPDATE schema_version SET version = 99")
    database.commit()
    database.close()

    with pytest.raises(JournalBroken, match="found 99"):
        Chain(chain_file, sync=False)


def test_a_writer_that_was_taken_over_cannot_append_any_more(tmp_path: Path) -> None:
    """It was silent, not dead: the chain went on without it, and has no two entries after one."""
    with Chain(tmp_path / "chain", sync=True) as first:
        first.append([Entry(NOON, "a", {})])
        with Chain(tmp_path / "chain", sync=True, takeover=True) as second:
            second.append([Entry(NOON, "b", {})])

            with pytest.raises(JournalBroken, match="another writer's after it"):
                first.append([Entry(NOON, "c", {})])

        assert ["a", "b"] == [link.kind for link in first.entries()]
        assert 2 == first.verify().count


def unfinished(path: Path, statements: str) -> Path:
    """A file that somebody else's statements made."""
    database = sqlite3.connect(path)
    database.executescript(statements)
    database.close()
    return path


@pytest.mark.parametrize("statements", ["", "CREATE TABLE schema_version (version INTEGER NOT NULL);"])
def test_a_writer_killed_before_its_table_was_there_leaves_an_empty_chain(tmp_path: Path, statements: str) -> None:
    """Nothing was ever written, so nothing is missing: to a reader it is empty, and the next writer begins it."""
    path = unfinished(tmp_path / "chain.sqlite", statements)
    path.touch()

    with Chain.reading(path) as chain:
        assert ([], Head(0, GENESIS), Head(0, GENESIS), ()) == (list(chain.entries()), chain.head, chain.verify(), chain.snapshots())
    with Chain(path, sync=True) as chain:
        assert 1 == chain.append([entry(1)]).count


@pytest.mark.parametrize("content", ["not a database, but long enough to look like one " * 20, None])
def test_reading_what_is_no_chain_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "chain.sqlite"
    if content is None:
        unfinished(path, "CREATE TABLE recipes (name TEXT);")
    else:
        path.write_text(content)

    with pytest.raises(JournalBroken, match=r"expected a chain in .*chain\.sqlite"):
        Chain.reading(path)


def test_reading_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalBroken, match=r"expected a chain in .*nowhere\.sqlite"):
        Chain.reading(tmp_path / "nowhere.sqlite")


class Cramped(Chain):
    """Its disk has room for so many more pages."""

    def cramp(self, pages: int) -> None:
        (there,) = self._db.execute("PRAGMA page_count").fetchone()
        self._db.execute(f"PRAGMA max_page_count = {there + pages}")


def test_a_full_disk_is_named_and_leaves_the_chain_whole(tmp_path: Path) -> None:
    """The append that did not fit is gone altogether; those before it verify, and the chain goes on once there is room."""
    with Cramped(tmp_path / "chain.sqlite", sync=True) as chain:
        chain.append([entry(1)])
        chain.cramp(1)

        with pytest.raises(JournalStalled, match="database or disk is full"):
            chain.append([Entry(NOON, "long", {"text": "x" * 100_000})])

        assert 1 == chain.verify().count
        chain.cramp(1000)
        assert 2 == chain.append([entry(2)]).count


def test_a_tail_is_verified_by_itself(chain_file: Path) -> None:
    """What was changed before the tail is not looked at; what was changed in it is found."""
    unfinished(chain_file, "UPDATE chain SET payload = replace(payload, '2', '8') WHERE sequence = 2;")

    with Chain(chain_file, sync=False) as chain:
        assert chain.verify(3) == chain.head
        with pytest.raises(JournalBroken, match="expected entry 2 to follow"):
            chain.verify(2)


def test_a_snapshot_is_kept_beside_the_chain_and_is_no_part_of_it(chain_file: Path) -> None:
    with Chain(chain_file, sync=True) as chain:
        head = chain.head
        chain.keep(head, {"sum": 15})

        assert head == chain.head == chain.verify()
    with Chain.reading(chain_file) as chain:
        assert [(5, {"sum": 15})] == [(each.sequence, each.state) for each in chain.snapshots()]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE snapshots SET state = replace(state, '15', '16');",
        "UPDATE snapshots SET sequence = 4;",
        "UPDATE snapshots SET hash = (SELECT hash FROM chain WHERE sequence = 4);",
        "DELETE FROM chain WHERE sequence = 5;",
        "UPDATE chain SET hash = 'f' || substr(hash, 2) WHERE sequence = 5;",
    ],
)
def test_a_snapshot_that_does_not_match_the_chain_is_refused(chain_file: Path, change: str) -> None:
    with Chain(chain_file, sync=True) as chain:
        chain.keep(chain.head, {"sum": 15})
    unfinished(chain_file, change)

    with Chain(chain_file, sync=True) as chain, pytest.raises(JournalBroken, match=r"expected snapshot \d of .* to match"):
        chain.snapshots()
