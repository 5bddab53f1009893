"""The exchange as a state machine: whatever is asked in whatever order, money is conserved, reserved for what is open, and no order overfills."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.journal import Journal
from desk.practice_exchange.orders import NO_LIST, Kind, Life, Status, Ticket
from desk.practice_exchange.refusals import Refusal
from desk.practice_exchange.synthetic import SyntheticMarket

STEPS = int(os.environ.get("TRADEWIND_PROVE_STEPS", "800"))
STEPS_PER_RUN = 40
TAPE = SyntheticMarket(3, ("BTC/USDT", "BNB/USDT"), Timeframe.H1, 1_672_531_200_000, 50, 400).tape()
CASH, ZERO = Decimal(80_000), Decimal(0)

symbols, sides = st.sampled_from(sorted(TAPE.candles)), st.sampled_from(list(Side))
bips, worths = st.integers(-150, 150), st.integers(10, 40_000)


reached: set[str] = set()


def note(what: str, seen: object) -> None:
    """Remember that the machine came to a place worth coming to."""
    if seen:
        reached.add(what)


class ExchangeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange(TAPE, CostSettings(), Journal(None), speed=0.0, deposits={"USDT": CASH})
        self.brought = {"USDT": CASH}
        self.ended: dict[int, tuple[object, ...]] = {}

    def ticket(self, symbol: str, side: Side, kind: Kind, away: int, worth: int, life: Life = Life.UNTIL_CANCELLED, **more: object) -> Ticket:
        quote = self.exchange.quote(symbol)
        assert quote is not None
        price = quote.listing.price(quote.open * (1 + away * 1e-4), side.sign)
        quantity = max(quote.listing.lots(worth / quote.open), 1) * quote.listing.lot
        name = f"id-{len(self.exchange.book.orders())}-{kind}-{away}"
        return Ticket(symbol, side, kind, life, quantity, ZERO, price if kind.priced else ZERO, name, **more)  # type: ignore[arg-type]

    def tried(self, act: Callable[[], object]) -> None:
        with suppress(Refusal):
            act()

    @rule(symbol=symbols, side=sides, kind=st.sampled_from([Kind.MARKET, Kind.LIMIT, Kind.POST_ONLY]), life=st.sampled_from(Life), away=bips, worth=worths)
    def place(self, symbol: str, side: Side, kind: Kind, life: Life, away: int, worth: int) -> None:
        life = life if kind is Kind.LIMIT else Life.UNTIL_CANCELLED
        self.tried(lambda: self.exchange.place(self.ticket(symbol, side, kind, away, worth, life)))

    @rule(symbol=symbols, side=sides, away=bips, worth=worths)
    def place_iceberg(self, symbol: str, side: Side, away: int, worth: int) -> None:
        plain = self.ticket(symbol, side, Kind.LIMIT, away, worth)
        shown = max(TAPE.listings[symbol].lots(plain.quantity / 3), 1) * TAPE.listings[symbol].lot
        self.tried(lambda: self.exchange.place(self.ticket(symbol, side, Kind.LIMIT, away, worth, iceberg=shown)))

    @rule(
        symbol=symbols, side=sides, kind=st.sampled_from([kind for kind in Kind if kind.conditional]), stop=bips, away=bips, worth=worths, trail=st.booleans()
    )
    def place_conditional(self, symbol: str, side: Side, kind: Kind, stop: int, away: int, worth: int, trail: bool) -> None:
        quote = self.exchange.quote(symbol)
        assert quote is not None
        trigger = quote.listing.price(quote.open * (1 + stop * 1e-4), 1)
        terms = {"trailing_bips": abs(stop) + 10, "stop_price": trigger if away > 0 else ZERO} if trail else {"stop_price": trigger}
        self.tried(lambda: self.exchange.place(self.ticket(symbol, side, kind, away, worth, **terms)))

    @rule(symbol=symbols, side=sides, up=st.integers(5, 150), down=st.integers(5, 150), worth=worths, limited=st.booleans())
    def place_list(self, symbol: str, side: Side, up: int, down: int, worth: int, limited: bool) -> None:
        stop = Kind.STOP_LOSS_LIMIT if limited else Kind.STOP_LOSS
        quote = self.exchange.quote(symbol)
        assert quote is not None
        kinds = (Kind.POST_ONLY, stop) if side is Side.SELL else (stop, Kind.POST_ONLY)
        legs = []
        for kind, away in zip(kinds, (up, -down), strict=True):
            trigger = {"stop_price": quote.listing.price(quote.open * (1 + away * 1e-4), 1)} if kind.conditional else {}
            legs.append(self.ticket(symbol, side, kind, away, worth, **trigger))
        self.tried(lambda: self.exchange.place_list(*legs, f"list-{len(self.exchange.book.lists)}"))

    @precondition(lambda self: self.exchange.book.open_orders())
    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        found = self.exchange.book.open_orders()
        self.exchange.cancel(found[which % len(found)])

    @rule(bars=st.integers(1, 3))
    def step(self, bars: int) -> None:
        for _ in range(bars):
            assert self.exchange.step()

    @rule(asset=st.sampled_from(["USDT", "BNB"]), amount=st.integers(-5000, 5000))
    def transfer(self, asset: str, amount: int) -> None:
        def move() -> None:
            self.exchange.transfer(asset, Decimal(amount))
            self.brought[asset] = self.brought.get(asset, ZERO) + amount

        self.tried(move)

    @rule(on=st.booleans())
    def burn(self, on: bool) -> None:
        self.exchange.agree(burn=on)

    @invariant()
    def every_asset_is_conserved(self) -> None:
        totals = {asset: account.total for asset, account in self.exchange.ledger.accounts.items()}
        assert {asset: self.brought.get(asset, ZERO) for asset in totals} == totals
        assert all(account.free >= 0 and account.locked >= 0 for account in self.exchange.ledger.accounts.values())

    @invariant()
    def open_orders_reserve_what_is_locked(self) -> None:
        reserved: dict[str, Decimal] = {}
        for order in self.exchange.book.orders():
            base, quote = order.symbol.split("/")
            asset = quote if order.side is Side.BUY else base
            reserved[asset] = reserved.get(asset, ZERO) + order.reserved
            assert order.open or order.reserved == 0
        assert all(account.locked == reserved.get(asset, ZERO) for asset, account in self.exchange.ledger.accounts.items())

    @invariant()
    def no_order_fills_above_its_quantity_or_beyond_its_limit(self) -> None:
        book = self.exchange.book
        for order in book.orders():
            executions = book.executions_of(order)
            assert sum((each.quantity for each in executions), ZERO) == order.filled <= order.quantity
            assert not order.kind.priced or all(order.side.sign * (order.price - each.price) >= 0 for each in executions)
            assert order.working or not executions
            note("a trigger woke and filled", order.kind.conditional and executions)
            note("an iceberg filled", order.iceberg and executions)
            note("commission in the coin", any(each.commission_asset == "BNB" and each.side is Side.SELL for each in executions))
            note("a maker filled", any(each.maker for each in executions))

    @invariant()
    def only_one_order_of_a_list_fills(self) -> None:
        book = self.exchange.book
        for listed in book.lists.values():
            legs = book.legs(listed)
            assert sum(leg.filled > 0 for leg in legs) <= 1
            assert listed.done == (not any(leg.open for leg in legs))
            assert all(leg.list_id == listed.id != NO_LIST for leg in legs)
            note("a list is done", listed.done)

    @invariant()
    def what_has_ended_never_changes(self) -> None:
        for order in self.exchange.book.orders():
            if not order.open:
                state = (order.status, order.filled, order.filled_quote, order.updated_ms)
                assert self.ended.setdefault(order.id, state) == state


@pytest.mark.timeout(3600)
def test_whatever_is_asked_the_books_balance() -> None:
    size = settings(
        max_examples=max(STEPS // STEPS_PER_RUN, 1), stateful_step_count=STEPS_PER_RUN, deadline=None, derandomize="TRADEWIND_PROVE_STEPS" not in os.environ
    )
    reached.clear()

    run_state_machine_as_test(ExchangeMachine, settings=size)  # type: ignore[no-untyped-call]

    wanted = {
        "a trigger woke and filled",
        "a list is done",
        "an iceberg filled",
        "commission in the coin",
        "a maker filled",
    }
    assert wanted <= reached


def test_our_own_orders_never_fill_one_another() -> None:
    machine = ExchangeMachine()
    machine.place("BTC/USDT", Side.BUY, Kind.MARKET, Life.UNTIL_CANCELLED, 0, 30_000)
    resting = machine.exchange.place(machine.ticket("BTC/USDT", Side.SELL, Kind.LIMIT, 10, 5_000))

    buyer = machine.exchange.place(machine.ticket("BTC/USDT", Side.BUY, Kind.LIMIT, 15, 5_000))

    assert (Status.EXPIRED_IN_MATCH, ZERO) == (resting.status, resting.filled)
    assert Status.FILLED is buyer.status
    machine.every_asset_is_conserved()
    machine.open_orders_reserve_what_is_locked()


def test_the_books_come_back_whole_after_lists_transfers_and_triggers(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("state")
    journal = Journal(folder)
    machine = ExchangeMachine()
    machine.exchange = Exchange(TAPE, CostSettings(), journal, speed=0.0, deposits={"USDT": CASH})
    machine.place("BTC/USDT", Side.BUY, Kind.MARKET, Life.UNTIL_CANCELLED, 0, 30_000)
    machine.place_list("BTC/USDT", Side.SELL, 150, 150, 10_000, False)
    machine.place_conditional("BTC/USDT", Side.SELL, Kind.STOP_LOSS, -100, 0, 5_000, True)
    machine.place_iceberg("BTC/USDT", Side.BUY, -140, 9_000)
    machine.transfer("BNB", 5)
    machine.exchange.register_key("k" * 16, "pem")
    for _ in range(4):
        machine.step(1)
        machine.place("BTC/USDT", Side.BUY, Kind.MARKET, Life.UNTIL_CANCELLED, 0, 100)
    journal.close()

    again = Exchange(TAPE, CostSettings(), Journal(folder), speed=0.0, deposits={"USDT": CASH})

    first = machine.exchange
    assert (first.book.orders(), first.book.executions, first.book.lists) == (again.book.orders(), again.book.executions, again.book.lists)
    assert (first.ledger.accounts, first.transfers, first.terms) == (again.ledger.accounts, again.transfers, again.terms)
    assert [first.quote(symbol) for symbol in TAPE.candles] == [again.quote(symbol) for symbol in TAPE.candles]
