"""The queue of resting orders against a brute-force book, and against pyorderbook for what that supports."""

from __future__ import annotations

import logging
import os
import random

import pytest

from configs.vocabulary import Side
from desk.practice_exchange.matching import Match, PriceTimeBook

STEPS = int(os.environ.get("TRADEWIND_PROVE_STEPS", "4000"))
# Orders in one book's life: searching a list from end to end takes the square of it.
LIFE = 1_000
OPPOSITE = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
Flow = tuple[str, int, Side, int, int, int]


class BruteForce:
    """A list of [id, side, ticks, shown, hidden, slice] in time order, searched from end to end for every question."""

    def __init__(self) -> None:
        self.rows: list[list[object]] = []

    def add(self, number: int, side: Side, ticks: int, lots: int, shown: int) -> None:
        visible = min(shown, lots) if shown else lots
        self.rows.append([number, side, ticks, visible, lots - visible, shown])

    def cancel(self, number: int) -> None:
        self.rows = [row for row in self.rows if row[0] != number]

    def take(self, side: Side, worst: int, lots: int) -> list[Match]:
        found = []
        while lots > 0:
            reachable = [row for row in self.rows if row[1] is side and side.sign * (row[2] - worst) >= 0]  # type: ignore[operator]
            if not reachable:
                break
            best = max(side.sign * row[2] for row in reachable)  # type: ignore[operator]
            row = next(row for row in reachable if side.sign * row[2] == best)  # type: ignore[operator]
            taken = min(lots, row[3])  # type: ignore[call-overload]
            lots -= taken
            found.append(Match(row[0], row[2], taken))  # type: ignore[arg-type]
            row[3] -= taken  # type: ignore[operator]
            if row[3] == 0:
                self.rows.remove(row)
                if row[4]:
                    self.add(row[0], side, row[2], row[4], row[5])  # type: ignore[arg-type]
        return found


def flow(seed: int, steps: int, *, icebergs: bool) -> list[Flow]:
    """What happens to a book: limit orders (half cross), cancels and, where prices are extreme, market orders."""
    draw = random.Random(seed)
    script: list[Flow] = []
    for number in range(1, steps + 1):
        side, lots = draw.choice(list(Side)), draw.randint(1, 50)
        what = draw.choices(("limit", "cancel", "market"), (60, 30, 10 if icebergs else 0))[0]
        ticks = 1000 - side.sign * draw.randint(-5, 12)
        if what == "market":
            ticks = 10**9 if side is Side.BUY else 1
        script.append((what, number, side, ticks, lots, draw.randint(1, lots) if icebergs and draw.random() < 0.2 else 0))
    return script


def submit(book: PriceTimeBook | BruteForce, order: Flow) -> list[Match]:
    """Take what crosses and let a limit order's rest rest."""
    what, number, side, ticks, lots, shown = order
    matches = book.take(OPPOSITE[side], ticks, lots)
    left = lots - sum(match.lots for match in matches)
    if left and what == "limit":
        book.add(number, side, ticks, left, shown)
    return matches


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_flow_matches_as_in_a_brute_force_book(seed: int) -> None:
    draw = random.Random(seed)

    for life in range(0, STEPS // 4, LIFE):
        book, reference = PriceTimeBook(), BruteForce()
        for order in flow(1000 * life + seed, min(LIFE, STEPS // 4 - life), icebergs=True):
            if order[0] == "cancel":
                number = draw.randint(1, order[1])
                book.cancel(number)
                reference.cancel(number)
            else:
                assert submit(reference, order) == submit(book, order)

            for side in Side:
                prices = [row[2] for row in reference.rows if row[1] is side]
                expected = None if not prices else (max(prices) if side is Side.BUY else min(prices))  # type: ignore[type-var]
                assert expected == book.best(side)


@pytest.mark.timeout(600)
def test_limit_and_cancel_flow_trades_as_in_pyorderbook() -> None:
    """The same trades, maker by maker, in price and quantity. It has no market orders and no icebergs."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    pyorderbook = pytest.importorskip("pyorderbook")
    # It configures logging when it is imported.
    root.handlers[:], root.level = handlers, level
    ours, theirs, draw = PriceTimeBook(), pyorderbook.Book(), random.Random(9)
    made, traded, cancelled = {}, 0, 0

    for order in flow(9, STEPS // 4, icebergs=False):
        what, number, side, ticks, lots, _ = order
        if what == "cancel":
            victim = draw.randint(1, number)
            cancelled += victim in made and theirs.get_order(made[victim].id) is not None
            ours.cancel(victim)
            if victim in made and theirs.get_order(made[victim].id) is not None:
                theirs.cancel(made[victim])
            continue
        factory = pyorderbook.bid if side is Side.BUY else pyorderbook.ask
        made[number] = factory("X", ticks, lots)
        trades = theirs.match(made[number])
        matches = submit(ours, order)
        traded += len(matches)
        found = [(int(trade.fill_price), trade.fill_quantity) for trade in trades.trades]
        assert found == [(match.ticks, match.lots) for match in matches]

    assert traded > STEPS // 20
    assert cancelled > STEPS // 100


def test_an_iceberg_queues_again_for_each_part_it_shows() -> None:
    book = PriceTimeBook()
    book.add(1, Side.SELL, 100, 5, 2)
    book.add(2, Side.SELL, 100, 3)

    matches = book.take(Side.SELL, 100, 8)

    assert [Match(1, 100, 2), Match(2, 100, 3), Match(1, 100, 2), Match(1, 100, 1)] == matches


def test_orders_at_one_price_are_listed_oldest_first_and_those_that_cross_are_known() -> None:
    book = PriceTimeBook()
    for number, ticks in ((3, 100), (1, 100), (2, 99)):
        book.add(number, Side.BUY, ticks, 1)

    assert [3, 1] == book.at(Side.BUY, 100)
    assert {1, 3} == set(book.crossing(Side.BUY, 100))
    assert {1, 2, 3} == set(book.crossing(Side.BUY, 99))
