"""Rows 39 to 48: what a desk finds when it stands up again, and what it must not believe."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from configs.trading import TradingSettings
from configs.vocabulary import Submission
from desk.books.journal import Journal
from desk.chain import Chain
from desk.errors import BookMismatch, DeskError
from desk.execution.order import order_id
from tests.faults.catalogue import TRADES, Row
from tests.faults.conftest import SYMBOL, Desk
from tests.faults.stage import Follower, Stage, bought, sold
from tests.faults.trader import kill

pytestmark = pytest.mark.timeout(60)
GIFT, COSTS = 1000, 500  # quote
STRANGER = {"newClientOrderId": "stranger-1"}


def written(desk: Desk) -> list[tuple[Any, ...]]:
    """Every entry of the journal."""
    with Chain.reading(desk.journal) as chain:
        return [(link.at, link.kind, link.payload) for link in chain.entries()]


def booked_twice(desk: Desk) -> dict[str, int]:
    """Trades that the journal has more than once."""
    with Chain.reading(desk.journal) as chain:
        found = [row[1] for link in chain.entries(kind="settled") for row in link.payload["fills"]]
        found += [fill.trade_id for step in Journal(chain, "").steps() for fill in step.fills]
    return {trade: times for trade, times in Counter(found).items() if times > 1}


@pytest.mark.row(39)
def test_a_quantity_that_differs_is_named_and_nobody_trades_on_it(desk: Desk) -> None:
    """Somebody traded with our key while we were down. The book is not overwritten by what is there, and no order follows from either."""
    desk.survive(2)
    desk.settle()
    before = written(desk)
    desk.exchange.client.create_order(SYMBOL, "market", "buy", "0.01", None, STRANGER)
    ours = len(desk.accepted())

    for _ in range(2):
        with pytest.raises(BookMismatch, match=r"BTC: ours \S+, the venue's 0\.0\d+; USDT: ours"):
            desk.trade(1)

    assert before == written(desk)
    assert ours == len(desk.accepted())


@pytest.mark.row(40)
def test_a_stop_that_rests_and_is_not_listed_is_neither_dropped_nor_placed_again(stage: Stage, staged: Desk, row: Row) -> None:
    """The list of open orders is behind and does not know it. Asked for by its id it is there; it stays ours, and closes the position later."""
    staged.policy, staged.trading = Follower(), TradingSettings(protective_stop=0.1)
    (lag,) = row.faults
    stage.exchange.plan({**lag, "times": 0})
    stage.bring("dip")
    staged.trade(2)
    (resting,) = [each for each in staged.accepted() if each["status"] == "NEW"]
    listed = stage.exchange.client.fetch_open_orders(SYMBOL)

    staged.settle()
    again = [each["clientOrderId"] for each in staged.accepted() if each["status"] == "NEW"]
    staged.trade(1)

    assert ([], [resting["clientOrderId"]]) == (listed, again)
    assert resting["clientOrderId"] in {fill.order_id for fill in staged.journalled()[2].fills}
    staged.agrees()


@pytest.mark.row(41)
def test_a_fill_that_was_settled_before_a_second_death_is_booked_once(desk: Desk, row: Row) -> None:
    """The first life ended with an order under way; the second settled its fill and was killed; to the third the order is still under way. Every
    report of an execution comes twice besides.
    """
    desk.submission = Submission.STREAM
    desk.exchange.plan(*row.faults)
    desk.trade(1)

    kill(desk, "settled: committed", bars=2)
    desk.survive(2)

    assert desk.exchange.struck() >= 2
    assert {} == booked_twice(desk)
    desk.agrees()


@pytest.mark.row(42)
def test_a_fill_is_never_inferred_from_an_order_that_says_it_was_filled(desk: Desk, row: Row) -> None:
    """The order is filled and no trades are told, twice; a fill made up from the order would be there beside the real one."""
    desk.exchange.plan(*row.faults)

    desk.survive(3)

    assert 3 == desk.exchange.struck()
    assert {} == booked_twice(desk)
    desk.agrees()


@pytest.mark.row(43)
@pytest.mark.parametrize("point", ["fills: half folded", "settled: before write"])
def test_a_fill_that_was_heard_and_not_written_is_booked_after_the_restart(desk: Desk, point: str) -> None:
    """Its number was remembered by a process that was killed before the book was written: while trading, and while standing up."""
    if point.startswith("settled"):
        desk.trade(1)
    kill(desk, point, bars=3)
    (heard,) = [fill["id"] for order in desk.accepted() for fill in order["fills"]]

    desk.survive(2)

    with Chain.reading(desk.journal) as chain:
        found = [row[1] for link in chain.entries(kind="settled") for row in link.payload["fills"]]
    assert [str(heard)] == found
    assert {} == booked_twice(desk)
    desk.agrees()


@pytest.mark.row(44)
def test_two_starts_from_one_journal_write_the_same(stage: Stage, staged: Desk, tmp_path: Path) -> None:
    """An order is under way and a stop rests. What one start finds and writes, another one from a copy finds and writes, to the hash; a third adds nothing."""
    staged.policy, staged.trading = Follower(), TradingSettings(protective_stop=0.1)
    stage.bring("dip")
    staged.trade(1)
    shutil.copytree(staged.folder, tmp_path.parent / f"{tmp_path.name}-copy")
    twin = replace(staged, folder=tmp_path.parent / f"{tmp_path.name}-copy")

    staged.settle()
    twin.settle()
    once = written(staged)
    staged.settle()

    assert "settled" in {kind for _, kind, _ in once}
    assert once == written(twin) == written(staged)
    with Chain.reading(staged.journal) as one, Chain.reading(twin.journal) as other:
        assert one.head.hash == other.head.hash
    staged.agrees()


@pytest.mark.row(45)
def test_what_strangers_do_with_our_key_is_neither_adopted_nor_booked_nor_cancelled(desk: Desk) -> None:
    client = desk.exchange.client
    resting = client.create_order(SYMBOL, "limit", "buy", "0.001", 20_000, STRANGER)

    desk.survive(3)

    assert "open" == client.fetch_order(resting["id"], SYMBOL)["status"]
    desk.agrees(strangers=("stranger-1",))


@pytest.mark.row(45)
def test_an_order_in_our_name_that_no_decision_accounts_for_stops_the_start(desk: Desk) -> None:
    """It looks like ours and is not in the book: nobody makes up a decision for it, and nobody takes it away unseen."""
    desk.survive(1)
    desk.settle()
    forged = order_id("somebody else", SYMBOL, datetime(2024, 1, 1, tzinfo=UTC), "buy", 1)
    desk.exchange.client.create_order(SYMBOL, "limit", "buy", "0.001", 20_000, {"newClientOrderId": forged})
    before = written(desk)

    with pytest.raises(BookMismatch, match=f"open order {forged} that no decision accounts for"):
        desk.trade(1)

    assert before == written(desk)
    assert "NEW" == desk.accepted()[-1]["status"]


@pytest.mark.row(46)
def test_a_wallet_that_is_behind_leaves_no_position_without_its_stop(stage: Stage, staged: Desk, row: Row) -> None:
    """Just bought, and the account does not show it yet: that is no dust. The stop is as large as what was bought, in the same step."""
    staged.policy, staged.trading = Follower(), TradingSettings(protective_stop=0.3)
    staged.midway = row.faults
    stage.bring("lowest")

    staged.trade(2)

    orders = staged.accepted()
    (stop,) = [each for each in orders if each["type"] == "STOP_LOSS"]
    assert (3, "NEW") == (stage.exchange.struck(), stop["status"])
    assert abs(bought(orders) - sold(orders) - Decimal(stop["origQty"])) < 2 * staged.exchange.instruments[SYMBOL].lot
    staged.agrees()


@pytest.mark.row(47)
def test_history_that_is_refused_is_an_error_and_no_empty_history(desk: Desk, row: Row) -> None:
    """Told that trades are beyond the window, the desk does not go on as if there had been none; once they can be asked for it does."""
    desk.exchange.plan(*row.faults)

    with pytest.raises(DeskError, match="the trades of"):
        desk.trade(2)
    with pytest.raises(DeskError, match="the trades of"):
        desk.trade(1)

    (step,) = desk.journalled()
    assert (0, 1) == (len(step.fills), len(desk.accepted()))
    desk.exchange.clear()
    desk.survive(2)
    desk.agrees()
    assert TRADES == row.faults[0]["path"]


class Gifted(Desk):
    """A desk to whose account money comes while it trades: cash, and a coin that it does not trade."""

    def advance(self) -> None:
        """Close one more bar."""
        super().advance()
        if self.advanced == 2:
            self.exchange.admin("/deposit", {"asset": "BNB", "amount": "3"})
            self.exchange.admin("/deposit", {"asset": "USDT", "amount": str(GIFT)})


@pytest.mark.row(48)
def test_money_that_arrives_is_neither_a_fill_nor_a_gain(stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The market stands still, so that trading only costs: what was earned shows no gain, the book has the cash, and nothing of the coin."""
    desk = Gifted(stage.exchange, tmp_path, request.node.name)

    desk.trade(3)
    desk.trade(2)

    desk.agrees()
    first, *_, last = desk.journalled()
    with Chain.reading(desk.journal) as chain:
        recovered = Journal(chain, "").recover(stage.exchange.instruments)
    assert recovered is not None
    assert {"BTC", "USDT"} == set(recovered.portfolio.balances())
    assert GIFT - COSTS < last.equity - first.equity <= GIFT
    assert 0.95 < recovered.growth <= 1
