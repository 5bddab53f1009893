"""Rows 1 to 15: what goes wrong between sending an order and knowing what became of it."""

from __future__ import annotations

import pytest

from configs.trading import TradingSettings
from desk.books.journal import Journal
from desk.chain import Chain
from desk.errors import BookMismatch, OrderUnresolved, VenueBusy
from tests.faults.catalogue import POST, Row
from tests.faults.conftest import SYMBOL, Desk, cases

pytestmark = pytest.mark.timeout(60)
BARS = 3
# The exchange did what it was asked, or will; the answer was lost, late, cut, false or an error that proves nothing.
PROVES_NOTHING = (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13)


@pytest.mark.parametrize("case", cases(*PROVES_NOTHING))
def test_an_order_whose_answer_proves_nothing_is_asked_for_and_never_sent_twice(desk: Desk, case: Row) -> None:
    desk.exchange.plan(*case.faults)

    desk.survive(BARS)

    assert desk.exchange.struck() >= 1
    assert len(desk.accepted()) >= 2
    desk.agrees()


@pytest.mark.row(6)
def test_no_layer_below_us_sends_an_order_again(desk: Desk) -> None:
    """An overloaded exchange did nothing and says so in a way that libraries like to retry: one request came for each order that was meant."""
    desk.exchange.plan({"kind": "error", **POST, "before": True, "status": 500, "code": -1000, "times": 1})
    desk.exchange.plan({"kind": "delay", **POST, "seconds": 0.0, "times": 0})

    desk.survive(BARS)

    seen = max(each["seen"] for each in desk.exchange.admin("/faults"))
    with Chain.reading(desk.journal) as chain:
        meant = [item.order.order_id for step in Journal(chain, "").steps() for item in step.approved]
    assert len(meant) == len(set(meant)) == seen
    desk.agrees()


@pytest.mark.row(6)
def test_an_order_that_the_line_doubled_stops_the_desk(desk: Desk, row: Row) -> None:
    """Both copies execute: a client id is unique among open orders only. Our book has one of them, the account both, and nobody trades on."""
    desk.trading = TradingSettings(gross_weight=0.4)
    desk.exchange.plan(*row.faults)
    desk.trade(1)
    desk.exchange.clear()

    with pytest.raises(BookMismatch, match=r"ours .* the venue's"):
        desk.trade(1)

    ids = [order["clientOrderId"] for order in desk.accepted()]
    assert (2, 1) == (len(ids), len(set(ids)))


@pytest.mark.row(12)
def test_an_exchange_that_is_overloaded_for_long_gets_no_second_copy_of_anything(desk: Desk, row: Row) -> None:
    """Each order is answered with -1008 and fills: all are found, none is sent again."""
    desk.exchange.plan(*row.faults)

    desk.survive(BARS)

    assert desk.exchange.struck() == len(desk.accepted()) >= 2
    desk.agrees()


@pytest.mark.row(14)
def test_an_order_that_filled_is_never_sent_again_though_its_id_is_free(desk: Desk) -> None:
    """The exchange would take the id a second time: what keeps it from happening is that we ask. Proven by a desk that is started three times."""
    for _ in range(2):
        stranger = desk.exchange.client.create_order(SYMBOL, "market", "buy", "0.001", None, {"newClientOrderId": "stranger-1"})
        assert "closed" == stranger["status"]

    desk.survive(BARS)

    ids = [order["clientOrderId"] for order in desk.accepted()]
    assert 2 == ids.count("stranger-1")
    assert len(ids) - 1 == len(set(ids))
    desk.agrees(strangers=("stranger-1",))


@pytest.mark.row(15)
def test_a_refused_order_leaves_no_ghost_after_a_restart(desk: Desk, row: Row) -> None:
    desk.exchange.plan(*row.faults)
    desk.trade(1)
    assert [] == desk.accepted()

    desk.survive(2)

    assert any("insufficient balance" in reason for reason in desk.refusals())
    desk.agrees()


def test_a_desk_that_cannot_hear_says_so_and_does_not_send_again(desk: Desk) -> None:
    """Beside the matrix: order lost on the way back and every question unanswered. The desk stops, and starts only when it can ask."""
    desk.exchange.plan({"kind": "drop", **POST}, {"kind": "error", "method": "GET", "path": "/api/v3/order", "times": 0, "status": 500, "code": -1000})
    with pytest.raises((OrderUnresolved, VenueBusy)):
        desk.trade(1)
    with pytest.raises((OrderUnresolved, VenueBusy)):
        desk.trade(1)
    assert 1 == len(desk.accepted())
    desk.exchange.clear()

    desk.survive(1)

    desk.agrees()
