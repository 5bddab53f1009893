"""Rows 49 to 56: sockets that are silent, closed, behind or wrong. They only give hints: what is true was asked over REST."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import ccxt
import pytest

from configs.vocabulary import Submission
from tests.faults.catalogue import Row
from tests.faults.conftest import SYMBOL, Desk, cases

pytestmark = pytest.mark.timeout(60)
BARS = 5
CANDLE_SOCKETS = (49, 55, 56)
USER_SOCKETS = (50, 51, 52, 54)


@pytest.mark.parametrize("case", cases(*CANDLE_SOCKETS))
def test_a_broken_stream_of_candles_loses_and_doubles_no_bar(desk: Desk, case: Row) -> None:
    """Struck in the middle of a window: every bar is traded once, in order, and the book is the account."""
    desk.midway = case.faults

    desk.survive(BARS)

    assert desk.exchange.struck() >= 1
    assert BARS == desk.advanced
    desk.agrees()


@pytest.mark.parametrize("case", cases(*USER_SOCKETS))
def test_a_broken_stream_of_fills_loses_and_doubles_no_fill(desk: Desk, case: Row) -> None:
    """Orders leave by the websocket and news of them is to come there; it does not, or it is false."""
    desk.submission = Submission.STREAM
    desk.midway = case.faults

    desk.survive(BARS)

    assert desk.exchange.struck() >= 1
    desk.agrees()


@pytest.mark.row(53)
@pytest.mark.asyncio
async def test_a_book_with_gaps_and_frames_out_of_order_is_read_anew_and_ends_equal_to_the_truth(desk: Desk, row: Row) -> None:
    """Whoever follows the book may be told once that it broke; what he has afterwards is the book that REST shows."""
    streams, exchange = desk.exchange.streams(), desk.exchange
    exchange.plan(*row.faults)

    async def follow() -> None:
        with suppress(ccxt.NetworkError, TimeoutError):
            watched = asyncio.ensure_future(streams.watch_order_book(SYMBOL, 20))
            await asyncio.to_thread(exchange.advance)
            await asyncio.wait_for(watched, 0.5)

    try:
        for _ in range(12):
            await follow()
        struck = exchange.struck()
        exchange.clear()
        book = truth = None
        for _ in range(10):
            await follow()
            book, truth = streams.orderbooks.get(SYMBOL), exchange.client.fetch_order_book(SYMBOL, 20)
            if book and book["nonce"] == truth["nonce"]:
                break
    finally:
        await streams.close()

    assert struck >= 2
    assert book is not None
    assert truth is not None
    assert truth["nonce"] == book["nonce"]
    assert truth["bids"][:10] == [list(level) for level in book["bids"][:10]]
    assert truth["asks"][:10] == [list(level) for level in book["asks"][:10]]
