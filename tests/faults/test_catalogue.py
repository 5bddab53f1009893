"""The catalogue of faults: complete, and every fault of it can be planned."""

from __future__ import annotations

import pytest

from desk.practice_exchange.faults import fault_of
from tests.faults.catalogue import ROWS, Row


def test_the_catalogue_has_its_68_rows() -> None:
    assert list(range(1, 69)) == [row.number for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.number}" for row in ROWS])
def test_every_row_has_something_that_sets_it_off(row: Row) -> None:
    """A fault that the exchange would not take raises."""
    planned = [fault_of(body) for body in row.faults]

    assert planned or row.action
