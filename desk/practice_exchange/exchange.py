"""The exchange itself: a tape, a market clock, a book and a ledger. It knows nothing of wires.

Takers meet the forming bar at its open; resting and sleeping orders meet a bar along its path when it closes. One transaction is one journal
line, written before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.book import Book
from desk.practice_exchange.clearing import Clearing
from desk.practice_exchange.clock import MarketClock
from desk.practice_exchange.dealing import Dealing
from desk.practice_exchange.happenings import BalanceMoved, BalancesChanged, BoundaryReached, Happening, ListChanged, Transaction
from desk.practice_exchange.journal import Journal, Memory
from desk.practice_exchange.ledger import ZERO, Ledger
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import Kind, Order, OrderList, Status, Ticket, Transfer, row_of
from desk.practice_exchange.refusals import InsufficientBalance, MarketClosed, UnknownList, UnknownOrder, WouldTrigger, WrongPrices
from desk.practice_exchange.tape import Tape
from desk.practice_exchange.triggers import BIPS, at_once, direction, follow


class Exchange:
    """One market and one account. `publish` hears of everything that happened, after it was written."""

    def __init__(self, tape: Tape, costs: CostSettings, journal: Journal, *, speed: float, deposits: dict[str, Decimal]) -> None:
        memory = journal.open(tape.hash)
        self.tape = tape
        self.costs = costs
        self.clock = MarketClock(memory.now_ms or tape.history_until_ms, tape.timeframe.milliseconds, tape.ends_at_ms, speed)
        self.book = Book(memory.orders.values(), memory.executions, memory.lists.values())
        self.ledger = Ledger(memory.accounts)
        self.terms = memory.terms
        self.transfers = memory.transfers
        self.publish: Callable[[Happening], None] = lambda happening: None
        self.halted: dict[str, int] = {}
        self.delisted: set[str] = set()
        self._journal = journal
        self._clearing = Clearing(self.book, self.ledger, tape.listings, fee_rate=Decimal(str(costs.fee_rate)), terms=self.terms, prices=self.price_of)
        self._dealing = Dealing(tape, costs, self._clearing, memory.taken)
        self._found(memory, deposits)
        journal.compact(self._everything())

    def now_ms(self) -> int:
        """Market time."""
        return self.clock.milliseconds()

    def listing(self, symbol: str) -> Listing:
        """The grid of a symbol."""
        return self.tape.listings[symbol]

    def quote(self, symbol: str) -> Quote | None:
        """The market of a symbol at this instant; None when no bar opened at the last boundary."""
        return None if symbol in self.halted else self._dealing.quote(symbol, self.clock.settled_ms)

    def price_of(self, asset: str, quote: str) -> Decimal | None:
        """What one unit of an asset is worth in another at this instant; None when no open market of the two is listed."""
        if asset == quote:
            return Decimal(1)
        straight, inverse = (self.quote(name) if name in self.tape.listings else None for name in (f"{asset}/{quote}", f"{quote}/{asset}"))
        if straight is not None:
            return Decimal(str(straight.open))
        return None if inverse is None else 1 / Decimal(str(inverse.open))

    def place(self, ticket: Ticket, *, dry: bool = False) -> Order:
        """Accept an order and let it meet the market. Raises a Refusal and changes nothing when it cannot be accepted; `dry` only looks."""
        quote = self._open_quote(ticket.symbol)
        order = self.book.accept(ticket, self.now_ms())
        takes, reserved = self._judge(ticket, order, quote)
        if reserved > self.ledger.of(self._clearing.pays(order)).free:
            raise InsufficientBalance
        if dry:
            return order
        change = Transaction()
        self._clearing.enter(change, order, reserved)
        if order.working:
            self._dealing.work(change, order, quote, takes, self.now_ms())
        self._commit(change)
        return order

    def place_list(self, above: Ticket, below: Ticket, client_id: str) -> OrderList:
        """Accept two orders on both sides of the market of which one may fill. Money is reserved once, for the dearer one. Raises a Refusal."""
        quote, now = self._open_quote(above.symbol), self.now_ms()
        if not _level(above) > Decimal(str(quote.open)) > _level(below):
            raise WrongPrices
        tickets = (above, below)
        legs = [self.book.accept(ticket, now, after=number) for number, ticket in enumerate(tickets)]
        needed = [self._judge(ticket, leg, quote)[1] for ticket, leg in zip(tickets, legs, strict=True)]
        if max(needed) > self.ledger.of(self._clearing.pays(legs[0])).free:
            raise InsufficientBalance
        orders, change = self.book.begin_list(above.symbol, client_id, legs, now), Transaction()
        change.lists[orders.id] = orders
        for leg, reserved in zip(legs, (max(needed), ZERO), strict=True):
            self._clearing.enter(change, leg, reserved)
            if leg.working:
                self._dealing.work(change, leg, quote, ZERO, now)
        change.told.append(ListChanged(orders, self.book.legs(orders)))
        self._commit(change)
        return orders

    def cancel(self, order: Order | None) -> Order:
        """Cancel an open order, and the whole list it belongs to; raises UnknownOrder when there is none."""
        if order is None or not order.open:
            raise UnknownOrder
        change = Transaction()
        self._clearing.end(change, order, Status.CANCELED, self.now_ms())
        self._commit(change)
        return order

    def cancel_list(self, orders: OrderList | None) -> OrderList:
        """Cancel every order of a list; raises UnknownList when none of it is open."""
        if orders is None or orders.done:
            raise UnknownList
        self.cancel(next(leg for leg in self.book.legs(orders) if leg.open))
        return orders

    def transfer(self, asset: str, amount: Decimal) -> Transfer:
        """Bring money in from outside (amount > 0), or send it out. Raises InsufficientBalance when less is free."""
        if amount < 0:
            self.ledger.withdraw(asset, -amount)
        else:
            self.ledger.deposit(asset, amount)
        made = Transfer(len(self.transfers) + 1, asset, amount, self.now_ms())
        self.transfers.append(made)
        change = Transaction(transfers=[made], assets={asset}, told=[BalanceMoved(asset, amount)])
        self._commit(change)
        return made

    def agree(self, **switches: bool) -> None:
        """Change what the account and its keys may do; the names are those of Terms."""
        for name, value in switches.items():
            setattr(self.terms, name, value)
        self._journal.write({**self._line(Transaction()), "terms": self.terms.row()})

    def register_key(self, api_key: str, public_key: str) -> None:
        """Let requests be signed with the private half of this key (PEM)."""
        self.terms.keys[api_key] = public_key
        self.agree()

    def halt(self, symbol: str, *, for_good: bool) -> None:
        """Let a symbol trade no more from now on. For good: its orders end, and it has no price."""
        self.halted.setdefault(symbol, self.clock.settled_ms)
        if for_good:
            self.delisted.add(symbol)
            for order in [each for each in self.book.open_orders() if each.symbol == symbol]:
                # An order of a list takes its sibling with it.
                if order.open:
                    self.cancel(order)

    def reopen(self) -> None:
        """Let every symbol trade."""
        self.halted.clear()
        self.delisted.clear()

    def step(self) -> bool:
        """Let one bar of every symbol close: orders meet it, then time stands at the next boundary. False at the end of the tape."""
        if self.clock.over:
            return False
        opened, boundary = self.clock.settled_ms, self.clock.settled_ms + self.clock.step_ms
        change = Transaction()
        symbols = sorted({order.symbol for order in self.book.open_orders()} - set(self.halted))
        for symbol in symbols:
            self._dealing.walk(change, symbol, opened, boundary)
        self.clock.settle(boundary)
        self._dealing.taken.clear()
        for symbol in symbols:
            self._dealing.open_bar(change, symbol, boundary)
        change.told.append(BoundaryReached(boundary))
        self._commit(change)
        return True

    def _found(self, memory: Memory, deposits: dict[str, Decimal]) -> None:
        """Open the accounts of all that is listed; a fresh state has its deposits."""
        for listing in self.tape.listings.values():
            self.ledger.open((listing.base, listing.quote))
        for asset, amount in deposits.items() if memory.now_ms is None else ():
            self.ledger.deposit(asset, amount)

    def _open_quote(self, symbol: str) -> Quote:
        quote = self.quote(symbol)
        if quote is None:
            raise MarketClosed
        return quote

    def _judge(self, ticket: Ticket, order: Order, quote: Quote) -> tuple[Decimal, Decimal]:
        """What an order takes at once, and how much of the asset it pays with it must have: the whole order, at the price it names or takes."""
        takes, last = ZERO, Decimal(str(quote.open))
        if order.working:
            takes = self._dealing.takes(order, quote)
        elif at_once(ticket, last):
            raise WouldTrigger
        else:
            follow(order, last, last)
        if order.side is Side.SELL:
            return takes, order.quantity
        if order.kind.priced:
            return takes, order.quantity * order.price
        if order.kind is Kind.MARKET:
            return takes, order.quantity * quote.price(takes, 1)
        trailed = last * (1 + direction(order.side, order.kind) * order.trailing_bips / BIPS)
        return takes, order.quantity * (order.stop_price or trailed)

    def _commit(self, change: Transaction) -> None:
        self._journal.write(self._line(change))
        if change.assets:
            change.told.append(BalancesChanged(tuple(sorted(change.assets))))
        for happening in change.told:
            self.publish(happening)

    def _everything(self) -> dict[str, Any]:
        everything = Transaction(
            {order.id: order for order in self.book.orders()}, self.book.lists, self.book.executions, self.transfers, set(self.ledger.accounts)
        )
        return {"market": self.tape.hash, **self._line(everything), "terms": self.terms.row()}

    def _line(self, change: Transaction) -> dict[str, Any]:
        """One transaction as the journal keeps it; what is empty is left out, except what every line has."""
        line = {"now": self.clock.settled_ms, "orders": _rows(change.orders.values()), "executions": _rows(change.executions)}
        line["balances"] = self.ledger.rows(change.assets)
        taken = {symbol: str(amount) for symbol, amount in self._dealing.taken.items()}
        others = {"lists": _rows(change.lists.values()), "transfers": _rows(change.transfers), "taken": taken}
        return {**line, **{name: rows for name, rows in others.items() if rows}}


def _rows(values: Iterable[Any]) -> Sequence[dict[str, Any]]:
    return [row_of(value) for value in values]


def _level(ticket: Ticket) -> Decimal:
    """Where an order of a list stands: at its trigger, or at its limit when it rests."""
    return ticket.stop_price if ticket.kind.conditional else ticket.price
