"""Money and orders together: enter, fill and end an order so that the ledger, the book and the queue of resting orders always agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from configs.vocabulary import Side
from desk.practice_exchange.book import Book
from desk.practice_exchange.fees import COIN, Charge, in_coin, in_kind
from desk.practice_exchange.happenings import ListChanged, Transaction
from desk.practice_exchange.ledger import ZERO, Exchanged, Ledger
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.matching import PriceTimeBook
from desk.practice_exchange.orders import NO_LIST, Execution, Order, Status
from desk.practice_exchange.terms import Terms

# Of a currency in terms of another at this instant; None while that market is closed or not listed.
Prices = Callable[[str, str], Decimal | None]


class Clearing:
    """Books what the market does to orders. Every method takes the transaction in which it happens."""

    def __init__(self, book: Book, ledger: Ledger, listings: Mapping[str, Listing], *, fee_rate: Decimal, terms: Terms, prices: Prices) -> None:
        self.book = book
        self.ledger = ledger
        self.queues = {symbol: PriceTimeBook() for symbol in listings}
        self.terms = terms
        self._listings = listings
        self._fee_rate = fee_rate
        self._prices = prices
        resting = [order for order in book.open_orders() if order.working]
        for order in sorted(resting, key=lambda order: (order.working_ms, order.id)):
            self.rest(order)

    def pays(self, order: Order) -> str:
        """The asset an order pays with."""
        listing = self._listings[order.symbol]
        return listing.quote if order.side is Side.BUY else listing.base

    def enter(self, change: Transaction, order: Order, reserved: Decimal) -> None:
        """Take an accepted order into the book and lock its money. Raises InsufficientBalance and changes nothing."""
        self.ledger.lock(self.pays(order), reserved)
        order.reserved = reserved
        self.book.enter(order)
        change.tell(order, self._listings[order.symbol], "NEW")

    def rest(self, order: Order) -> None:
        """Queue the rest of a working order at its price."""
        listing = self._listings[order.symbol]
        lots, shown = int(order.remaining / listing.lot), int(order.iceberg / listing.lot)
        self.queues[order.symbol].add(order.id, order.side, int(order.price / listing.tick), lots, shown)

    def execute(self, change: Transaction, order: Order, quantity: Decimal, price: Decimal, *, maker: bool, at_ms: int) -> None:
        """Book one fill; the first one of a list's order ends the others."""
        self.engage(change, order, at_ms)
        listing, worth = self._listings[order.symbol], quantity * price
        base, quote = (listing.base, quantity), (listing.quote, worth)
        (pays, paid), (receives, received) = (quote, base) if order.side is Side.BUY else (base, quote)
        charge = self._charge(listing, receives, received, worth)
        kept = order.reserved if quantity == order.remaining else min(order.reserved, quantity * (order.reserved / order.remaining))
        within = charge.amount if charge.asset == receives else ZERO
        self.ledger.exchange(Exchanged(pays, paid, kept, receives, received, within))
        if not within:
            self.ledger.charge(charge.asset, charge.amount)
        execution = Execution(self.book.next_execution, order.id, order.symbol, order.side, quantity, price, charge.amount, charge.asset, at_ms, maker)
        order.reserved -= kept
        order.filled += quantity
        order.filled_quote += worth
        order.updated_ms = at_ms
        order.status = Status.FILLED if order.filled == order.quantity else Status.PARTIALLY_FILLED
        self.book.record(execution)
        self.book.settle(order)
        change.tell(order, listing, "TRADE", execution)
        self._close_list(change, order)

    def end(self, change: Transaction, order: Order, status: Status, at_ms: int) -> None:
        """End an open order, and with it the others of its list."""
        for each in (order, *self.book.siblings(order)):
            self._end_one(change, each, status, at_ms)
        self._close_list(change, order)

    def engage(self, change: Transaction, order: Order, at_ms: int) -> None:
        """An order of a list fills or wakes: the others end, and what was reserved for them all is now its own."""
        siblings = self.book.siblings(order)
        for sibling in siblings:
            order.reserved, sibling.reserved = order.reserved + sibling.reserved, ZERO
            self._end_one(change, sibling, Status.EXPIRED, at_ms)
        if siblings:
            self._trim(change, order)

    def afford(self, order: Order, needed: Decimal) -> bool:
        """Have at least this much reserved for an order; False when the account has not enough."""
        missing = max(needed - order.reserved, ZERO)
        if missing > self.ledger.of(self.pays(order)).free:
            return False
        self.ledger.lock(self.pays(order), missing)
        order.reserved += missing
        return True

    def _trim(self, change: Transaction, order: Order) -> None:
        """Give back what a list had reserved beyond what its one order needs; an order without a limit keeps it until it is done."""
        if order.side is Side.BUY and not order.kind.priced:
            return
        surplus = order.reserved - order.remaining * (order.price if order.side is Side.BUY else 1)
        self.ledger.release(self.pays(order), surplus)
        order.reserved -= surplus
        change.orders[order.id] = order

    def _end_one(self, change: Transaction, order: Order, status: Status, at_ms: int) -> None:
        self.queues[order.symbol].cancel(order.id)
        self.ledger.release(self.pays(order), order.reserved)
        order.reserved = ZERO
        order.status = status
        order.updated_ms = at_ms
        self.book.settle(order)
        change.tell(order, self._listings[order.symbol], status.value)

    def _close_list(self, change: Transaction, order: Order) -> None:
        if order.list_id == NO_LIST or order.open or self.book.siblings(order):
            return
        orders = self.book.lists[order.list_id]
        orders.done = True
        change.lists[orders.id] = orders
        change.told.append(ListChanged(orders, tuple(replace(leg) for leg in self.book.legs(orders))))

    def _charge(self, listing: Listing, receives: str, received: Decimal, worth: Decimal) -> Charge:
        if self.terms.burn:
            charge = in_coin(worth, self._fee_rate, self._prices(COIN, listing.quote), self.ledger.of(COIN).free)
            if charge is not None:
                return charge
        return in_kind(receives, received, self._fee_rate)
