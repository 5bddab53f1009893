"""Rows 49 to 56: sockets that are silent, closed, behind or wrong. They only give hints: what is true was asked over REST."""

from __future__ import annotations

import pytest

from configs.vocabulary import Submission
from tests.faults.catalogue import Row
from tests.faults.conftest import Desk, cases

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
