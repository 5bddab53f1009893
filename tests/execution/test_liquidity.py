"""What a book can say, and that a book that can say nothing says nothing."""

from __future__ import annotations

import math
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.vocabulary import Side
from desk.clock import WallClock
from desk.execution.liquidity import BookView, Liquidity

BIDS, ASKS = [[99.0, 1.0], [98.0, 2.0]], [[101.0, 1.0], [102.0, 3.0]]


def test_depth_counts_what_lies_within_reach_of_the_middle() -> None:
    """The middle is 100: 101 is 100 basis points away, 102 is 200."""
    view = BookView.of(BIDS, ASKS, 0.0)

    assert (0.0, 1.0, 4.0) == (view.depth(Side.BUY, 99.0), view.depth(Side.BUY, 100.001), view.depth(Side.BUY, 201.0))
    assert (1.0, 3.0) == (view.depth(Side.SELL, 100.001), view.depth(Side.SELL, 201.0))


def test_impact_is_the_average_price_of_walking_the_book() -> None:
    """1 at 101 and 1 at 102 is 101.5 on average: 150 basis points above 100."""
    view = BookView.of(BIDS, ASKS, 0.0)

    assert 150.0 == pytest.approx(view.impact_bps(Side.BUY, 2.0))
    assert 100.0 == pytest.approx(view.impact_bps(Side.SELL, 1.0))
    assert math.isnan(view.impact_bps(Side.BUY, 4.1))


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([], []),
        (BIDS, []),
        ([], ASKS),
        (ASKS, BIDS),
        ([[None, 1]], ASKS),
        ([["x"]], ASKS),
        ([[math.nan, 1.0]], ASKS),
        ([[99.0, 0.0]], ASKS),
        ([[101.0, 1.0]], ASKS),
    ],
)
def test_an_empty_crossed_or_broken_book_answers_unknown(bids: list[Any], asks: list[Any]) -> None:
    view = BookView.of(bids, asks, 0.0)

    answers = (view.mid, view.half_spread_bps, view.depth(Side.BUY, 10.0), view.impact_bps(Side.SELL, 1.0), view.touch(Side.BUY))

    assert all(math.isnan(answer) for answer in answers)


LEVELS = st.lists(st.lists(st.one_of(st.none(), st.text(max_size=3), st.floats(), st.integers(-5, 10**6)), max_size=3), max_size=6)


@given(bids=LEVELS, asks=LEVELS, quantity=st.floats(1e-9, 1e9), bps=st.floats(0, 1e4), side=st.sampled_from(Side))
def test_no_book_crashes_it_and_more_costs_no_less(bids: list[list[Any]], asks: list[list[Any]], quantity: float, bps: float, side: Side) -> None:
    view = BookView.of(bids, asks, 0.0)

    less, more, depth = view.impact_bps(side, quantity), view.impact_bps(side, 2 * quantity), view.depth(side, bps)

    assert math.isnan(more) or more >= less - 1e-6 * abs(less)
    assert math.isnan(depth) or depth >= 0


class Books:
    """An exchange whose books are given, one a question."""

    def __init__(self, *books: Any) -> None:
        self.books = list(books)

    def fetch_order_book(self, symbol: str, limit: int) -> Any:
        book = self.books.pop(0)
        if isinstance(book, Exception):
            raise book
        return book


def test_a_book_is_asked_for_once_while_it_is_young_and_again_when_it_is_not() -> None:
    first, second = {"bids": BIDS, "asks": ASKS}, {"bids": BIDS, "asks": [[103.0, 1.0]]}

    patient, strict = Liquidity(Books(first, second), WallClock(), max_age_s=60.0), Liquidity(Books(first, second), WallClock(), max_age_s=0.0)

    assert patient.view("BTC/USDT") is patient.view("BTC/USDT")
    assert not strict.view("BTC/USDT").usable


def test_an_exchange_that_cannot_say_is_an_empty_book() -> None:
    assert not Liquidity(Books(ccxt.NetworkError("down")), WallClock(), 2.0).view("BTC/USDT").usable
