"""The exchange itself: a tape, a market clock, a book and a ledger. It knows nothing of wires.

Takers meet the forming bar at its open; resting orders fill when a bar trades through them, against that bar's volume. One transaction is one
journal line, written before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.book import Book
from desk.practice_exchange.clock import MarketClock
from desk.practice_exchange.journal import Journal
from desk.practice_exchange.ledger import ZERO, Exchanged, Ledger
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import Execution, Kind, Life, Order, Status, Ticket, row_of
from desk.practice_exchange.refusals import InsufficientBalance, MarketClosed, UnknownOrder, WouldTake
from desk.practice_exchange.tape import Tape

COMMISSION_STEP = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """Something happened to an order: "NEW", "TRADE" (with its execution), "CANCELED" or "EXPIRED"."""

    order: Order
    what: str
    execution: Execution | None


@dataclass(frozen=True, slots=True)
class BalancesChanged:
    """These assets have new balances."""

    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoundaryReached:
    """Bars closed, and the next ones opened, at this instant."""

    now_ms: int


Happening = OrderChanged | BalancesChanged | BoundaryReached


@dataclass(slots=True)
class _Transaction:
    """What one request or one boundary changes, collected until it is written."""

    orders: dict[int, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)
    told: list[Happening] = field(default_factory=list)


class Exchange:
    """One market and one account. `publish` hears of everything that happened, after it was written."""

    def __init__(self, tape: Tape, costs: CostSettings, journal: Journal, *, speed: float, deposits: dict[str, Decimal]) -> None:
        memory = journal.open(tape.hash)
        self.tape = tape
        self.costs = costs
        self.clock = MarketClock(memory.now_ms or tape.history_until_ms, tape.timeframe.milliseconds, tape.ends_at_ms, speed)
        self.book = Book(memory.orders.values(), memory.executions)
        self.ledger = Ledger(memory.accounts)
        self.publish: Callable[[Happening], None] = lambda happening: None
        self._journal = journal
        self._fee_rate = Decimal(str(costs.fee_rate))
        self._taken: dict[str, Decimal] = {}
        for listing in tape.listings.values():
            self.ledger.open((listing.base, listing.quote))
        if memory.now_ms is None:
            for asset, amount in deposits.items():
                self.ledger.deposit(asset, amount)
        self._remember_taken()
        journal.compact(self._everything())

    def now_ms(self) -> int:
        """Market time."""
        return self.clock.milliseconds()

    def listing(self, symbol: str) -> Listing:
        """The grid of a symbol."""
        return self.tape.listings[symbol]

    def quote(self, symbol: str) -> Quote | None:
        """The market of a symbol at this instant; None when no bar opened at the last boundary."""
        candles = self.tape.candles[symbol]
        row = candles.at(self.clock.settled_ms)
        if row is None:
            return None
        return Quote(self.listing(symbol), self.costs, float(candles.open[row]), float(candles.volume[row]), self._taken.get(symbol, ZERO))

    def place(self, ticket: Ticket, *, dry: bool = False) -> Order:
        """Accept an order and let it meet the market. Raises a Refusal and changes nothing when it cannot be accepted; `dry` only looks."""
        quote = self.quote(ticket.symbol)
        if quote is None:
            raise MarketClosed
        order = self.book.accept(ticket, self.now_ms())
        takes = self._takes(order, quote)
        asset, reserved = self._cost(order, quote, takes)
        if reserved > self.ledger.of(asset).free:
            raise InsufficientBalance
        if dry:
            return order
        change = _Transaction()
        self.ledger.lock(asset, reserved)
        order.reserved = reserved
        self.book.enter(order)
        self._tell(change, order, "NEW")
        if takes:
            self._execute(change, order, takes, quote.price(takes, order.side.sign), maker=False)
        if order.open and (order.kind is Kind.MARKET or order.life is not Life.UNTIL_CANCELLED):
            self._end(change, order, Status.EXPIRED)
        self._commit(change)
        return order

    def cancel(self, order: Order | None) -> Order:
        """Cancel an open order; raises UnknownOrder when there is none."""
        if order is None or not order.open:
            raise UnknownOrder
        change = _Transaction()
        self._end(change, order, Status.CANCELED)
        self._commit(change)
        return order

    def step(self) -> bool:
        """Let one bar of every symbol close: resting orders meet it, then time stands at the next boundary. False at the end of the tape."""
        if self.clock.over:
            return False
        boundary = self.clock.settled_ms + self.clock.step_ms
        change = _Transaction()
        for symbol in sorted({order.symbol for order in self.book.open_orders()}):
            self._match(change, symbol, boundary)
        self.clock.settle(boundary)
        self._taken.clear()
        change.told.append(BoundaryReached(boundary))
        self._commit(change)
        return True

    def _takes(self, order: Order, quote: Quote) -> Decimal:
        """How much the order takes from the market at once. Fixes the quantity of an order given in quote currency."""
        sign = order.side.sign
        if order.quote_quantity:
            order.quantity = quote.within_budget(order.quote_quantity, sign)
            return order.quantity
        if order.kind is Kind.MARKET:
            return min(order.quantity, quote.available)
        crosses = sign * (order.price - quote.touch(sign)) >= 0
        if order.kind is Kind.POST_ONLY and crosses:
            raise WouldTake
        takes = quote.within_limit(order.quantity, sign, order.price) if crosses else ZERO
        return ZERO if order.life is Life.ALL_OR_NOTHING and takes < order.quantity else takes

    def _cost(self, order: Order, quote: Quote, takes: Decimal) -> tuple[str, Decimal]:
        """The asset an order pays with and how much it must have: the whole order, at its limit or at the price it takes."""
        listing = self.listing(order.symbol)
        if order.side is Side.SELL:
            return listing.base, order.quantity
        price = order.price if order.kind is not Kind.MARKET else quote.price(takes, 1)
        return listing.quote, order.quantity * price

    def _match(self, change: _Transaction, symbol: str, boundary: int) -> None:
        """Fill resting orders that the closing bar traded through, best price first, oldest first, up to the share of its volume."""
        candles = self.tape.candles[symbol]
        row, quote = candles.at(self.clock.settled_ms), self.quote(symbol)
        if row is None or quote is None:
            return
        left = quote.available
        for order in (*self.book.resting(symbol, Side.BUY), *self.book.resting(symbol, Side.SELL)):
            extreme = candles.low[row] if order.side is Side.BUY else candles.high[row]
            if order.side.sign * (order.price - Decimal(str(float(extreme)))) > 0 and left > 0:
                quantity = min(order.remaining, left)
                left -= quantity
                self._execute(change, order, quantity, order.price, maker=True, at_ms=boundary)

    def _execute(self, change: _Transaction, order: Order, quantity: Decimal, price: Decimal, *, maker: bool, at_ms: int | None = None) -> None:
        listing, worth = self.listing(order.symbol), quantity * price
        base, quote = (listing.base, quantity), (listing.quote, worth)
        (pays, paid), (receives, received) = (quote, base) if order.side is Side.BUY else (base, quote)
        commission = (received * self._fee_rate).quantize(COMMISSION_STEP, ROUND_DOWN)
        at_ms = self.now_ms() if at_ms is None else at_ms
        execution = Execution(self.book.next_execution, order.id, order.symbol, order.side, quantity, price, commission, receives, at_ms, maker)
        kept = order.reserved if quantity == order.remaining else min(order.reserved, self._share_of_reserve(order, quantity))
        self.ledger.exchange(Exchanged(pays, paid, kept, receives, received, commission))
        order.reserved -= kept
        order.filled += quantity
        order.filled_quote += worth
        order.updated_ms = at_ms
        order.status = Status.FILLED if order.filled == order.quantity else Status.PARTIALLY_FILLED
        self.book.record(execution)
        self.book.settle(order)
        if not maker:
            self._taken[order.symbol] = self._taken.get(order.symbol, ZERO) + quantity
        change.executions.append(execution)
        self._tell(change, order, "TRADE", execution)

    def _share_of_reserve(self, order: Order, quantity: Decimal) -> Decimal:
        """What was reserved for this part of the order."""
        return quantity * (order.reserved / order.remaining)

    def _end(self, change: _Transaction, order: Order, status: Status) -> None:
        listing = self.listing(order.symbol)
        self.ledger.release(listing.quote if order.side is Side.BUY else listing.base, order.reserved)
        order.reserved = ZERO
        order.status = status
        order.updated_ms = self.now_ms()
        self.book.settle(order)
        self._tell(change, order, status.value)

    def _tell(self, change: _Transaction, order: Order, what: str, execution: Execution | None = None) -> None:
        listing = self.listing(order.symbol)
        change.orders[order.id] = order
        change.assets |= {listing.base, listing.quote}
        # A copy: the order goes on changing before anybody hears of this.
        change.told.append(OrderChanged(replace(order), what, execution))

    def _commit(self, change: _Transaction) -> None:
        self._journal.write(self._line(change.orders.values(), change.executions, change.assets))
        if change.assets:
            change.told.append(BalancesChanged(tuple(sorted(change.assets))))
        for happening in change.told:
            self.publish(happening)

    def _everything(self) -> dict[str, object]:
        return {"market": self.tape.hash, **self._line(self.book.orders(), self.book.executions, self.ledger.accounts)}

    def _line(self, orders: Iterable[Order], executions: Iterable[Execution], assets: Iterable[str]) -> dict[str, object]:
        rows = {"orders": [row_of(order) for order in orders], "executions": [row_of(execution) for execution in executions]}
        return {"now": self.clock.settled_ms, **rows, "balances": self.ledger.rows(assets)}

    def _remember_taken(self) -> None:
        """What was taken of the forming bar before a restart counts after it."""
        for execution in self.book.executions:
            if not execution.maker and execution.at_ms >= self.clock.settled_ms:
                self._taken[execution.symbol] = self._taken.get(execution.symbol, ZERO) + execution.quantity
