"""A restart that begins at a snapshot stands where one stands that read everything."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.trading import JournalSettings
from desk.books.journal import Journal, Recovered
from desk.books.portfolio import Portfolio
from desk.chain import Chain, canonical
from desk.errors import BookMismatch, JournalStalled
from desk.instruments import Instrument
from tests.listening import Heard

OPENED = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = 4
HAPPENINGS = ("confirmed", "rejected", "stop rejected", "settled", "halted", "closed", "deposit", "withdrawal")
happening = st.one_of(st.tuples(st.integers(90, 110), st.booleans(), st.booleans()), st.sampled_from(HAPPENINGS))


def journal_of(chain: Chain) -> Journal:
    return Journal(chain, "settings-1", JournalSettings(snapshot_steps=EVERY))


def seen(recovered: Recovered | None) -> str:
    """All of where a session stands; when it was opened is told apart from where it stands only after a step."""
    assert recovered is not None
    portfolio = recovered.portfolio
    return repr((replace(recovered, portfolio=None), canonical(portfolio.state()), sorted(portfolio._trades), portfolio.lots))  # type: ignore[arg-type]


def write(path: Path, story: list[Any], instruments: dict[str, Instrument], writer_of: Any) -> Recovered:
    """Write a journal, and begin anew now and then; returns where it stands without snapshots."""
    with Chain(path, sync=False) as chain:
        journal = journal_of(chain)
        journal.record_opening(OPENED, Portfolio(instruments, Decimal(1000), {"BTC/USDT": Decimal("0.5")}))
        writer = writer_of(journal)
        for number, what in enumerate(story):
            if isinstance(what, str):
                writer.happen(what)
            else:
                price, sells, stop = what
                writer.step((writer.fill(price, sells=sells),) if number % 3 else (), stop=stop)
            if number % 17 == 16:
                writer.journal = journal_of(chain)
                writer.journal.recover(instruments)
    with Chain(path, sync=False) as chain:
        plain = Journal(Bare(path), "").recover(instruments)
    assert plain is not None
    return plain


class Bare(Chain):
    """A reader of a chain that knows of no snapshots."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, sync=False, reader=True)
        self._tables = frozenset({"chain"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happening, min_size=1, max_size=60))
def test_snapshots_change_nothing_but_the_time_it_takes(instruments: dict[str, Instrument], writer_of: Any, story: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"

        plain = write(path, story, instruments, writer_of)

        with Chain.reading(path) as chain:
            assert len(chain.snapshots()) == sum(not isinstance(what, str) for what in story) // EVERY
            assert seen(plain) == seen(journal_of(chain).recover(instruments))


@pytest.fixture
def written(tmp_path: Path, instruments: dict[str, Instrument], writer_of: Any) -> tuple[Path, Recovered]:
    """Ten steps and a half, and where they lead."""
    path = tmp_path / "journal.sqlite"
    story = [(100 + number, number % 2 == 0, True) for number in range(10)] + ["settled", "deposit"]
    return path, write(path, story, instruments, writer_of)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


def test_what_came_before_the_snapshot_is_not_read(written: tuple[Path, Recovered], instruments: dict[str, Instrument]) -> None:
    """Shown by breaking it: a restart does not see it, verifying the whole chain does."""
    path, plain = written
    change(path, "UPDATE chain SET payload = 'no JSON' WHERE sequence = 2")

    with Chain(path, sync=False) as chain:
        assert seen(plain) == seen(journal_of(chain).recover(instruments))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE snapshots SET state = replace(state, '\"steps\":8', '\"steps\":7')",
        "UPDATE snapshots SET hash = 'f' || substr(hash, 2) WHERE sequence = (SELECT max(sequence) FROM snapshots)",
        "DELETE FROM snapshots WHERE sequence = (SELECT max(sequence) FROM snapshots); ",
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused_loudly_and_all_of_it_is_read(
    written: tuple[Path, Recovered], instruments: dict[str, Instrument], heard: list[Heard], statement: str
) -> None:
    """The book is the same either way. One that is merely missing is nothing to cry about. Afterwards there is a sound one again."""
    path, plain = written
    change(path, statement)

    with Chain(path, sync=False) as chain:
        assert seen(plain) == seen(journal_of(chain).recover(instruments))
        assert chain.snapshots()
        assert seen(plain) == seen(journal_of(chain).recover(instruments))

    refused = [each.level for each in heard if each.event == "journal.snapshot_refused"]
    assert ([] if statement.startswith("DELETE") else ["ERROR"]) == refused


def test_a_snapshot_in_words_of_another_release_is_refused_and_replaced(
    written: tuple[Path, Recovered], instruments: dict[str, Instrument], heard: list[Heard]
) -> None:
    path, plain = written
    with Chain(path, sync=False) as chain:
        link = list(chain.entries(kind="step"))[7]
        chain.keep(replace(chain.head, count=link.sequence, hash=link.hash), {"another": "release"})

        assert seen(plain) == seen(journal_of(chain).recover(instruments))
        assert {"another"}.isdisjoint(chain.snapshots()[-1].state)

    assert "journal.snapshot_refused" in [each.event for each in heard]


def test_a_tail_that_was_tampered_with_is_found_behind_a_snapshot(written: tuple[Path, Recovered], instruments: dict[str, Instrument]) -> None:
    path, _ = written
    change(path, "UPDATE chain SET payload = replace(payload, '12.5', '99.5') WHERE kind = 'flows'")

    with Chain(path, sync=False) as chain, pytest.raises(Exception, match="found a broken link"):
        journal_of(chain).recover(instruments)


def test_snapshots_of_other_symbols_are_refused_like_the_journal(written: tuple[Path, Recovered]) -> None:
    with Chain(written[0], sync=False) as chain, pytest.raises(BookMismatch, match="BTC/USDT"):
        journal_of(chain).recover({})


def test_trades_of_long_ago_still_count_once(written: tuple[Path, Recovered], instruments: dict[str, Instrument], writer_of: Any) -> None:
    """Each snapshot has the trades since the one before: together they have all."""
    path, _ = written
    with Chain(path, sync=False) as chain:
        kept = [trade for (text,) in chain._db.execute("SELECT state FROM snapshots") for trade in json.loads(text)["trades"]]
        recovered = journal_of(chain).recover(instruments)
        assert recovered is not None
        first = next(fill for step in Journal(chain, "").steps() for fill in step.fills)

        assert not recovered.portfolio.apply(first)

    assert len(kept) == len({tuple(each) for each in kept})


def test_a_journal_that_is_too_slow_stops_the_session(tmp_path: Path, instruments: dict[str, Instrument]) -> None:
    """The entry is written, late: whoever waited for it must not act on it any more. The next start asks what became of its orders."""
    with Chain(tmp_path / "journal.sqlite", sync=True) as chain:
        journal = Journal(chain, "settings-1", JournalSettings(stall_s=1e-9))

        with pytest.raises(JournalStalled, match="within 1e-09 s"):
            journal.record_opening(OPENED, Portfolio(instruments, Decimal(1000)))

        assert 1 == chain.verify().count
