"""Where orders meet the market: takers at the open of the forming bar, resting orders and triggers along the path of a bar that closes.

A resting order that the path trades through fills at its price, best price first, oldest first; one that the path only touches fills from what
others bring beyond the queue before it. A trigger wakes its order at the trigger's price, or at the open when the bar opened beyond it. All of it
together takes no more than the share of the bar's volume that the costs allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.clearing import Clearing
from desk.practice_exchange.happenings import Transaction
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.orders import Kind, Life, Order, Status
from desk.practice_exchange.path import path_of, queue_before, touching_flow
from desk.practice_exchange.refusals import WouldTake
from desk.practice_exchange.tape import Tape
from desk.practice_exchange.triggers import crossed, direction, follow, trigger

OPPOSITE = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


@dataclass(slots=True)
class _Bar:
    """A bar being walked: its open as a quote, what resting orders took of it so far, and the instant it closes."""

    quote: Quote
    made: Decimal
    at_ms: int

    def left(self, taken: Decimal) -> Decimal:
        return max(replace(self.quote, taken=taken).available - self.made, ZERO)


class Dealing:
    """Matches orders with the tape. `taken`: what takers had of the forming bar, base units by symbol."""

    def __init__(self, tape: Tape, costs: CostSettings, clearing: Clearing, taken: Mapping[str, Decimal]) -> None:
        self.taken = dict(taken)
        self._tape = tape
        self._costs = costs
        self._clearing = clearing

    def quote(self, symbol: str, at_ms: int) -> Quote | None:
        """The market of a symbol in the bar that opens at this instant; None when there is no such bar."""
        candles = self._tape.candles[symbol]
        row = candles.at(at_ms)
        if row is None:
            return None
        taken = self.taken.get(symbol, ZERO)
        return Quote(self._tape.listings[symbol], self._costs, float(candles.open[row]), float(candles.volume[row]), taken)

    def takes(self, order: Order, quote: Quote) -> Decimal:
        """How much a working order takes from the market at once. Fixes the quantity of an order given in quote currency. May raise WouldTake."""
        sign = order.side.sign
        if order.quote_quantity:
            order.quantity = quote.within_budget(order.quote_quantity, sign)
            return order.quantity
        if not order.kind.priced:
            return min(order.quantity, quote.available)
        crosses = sign * (order.price - quote.touch(sign)) >= 0
        if order.kind is Kind.POST_ONLY and (crosses or self._own_crossed(order, order.price)):
            raise WouldTake
        takes = quote.within_limit(order.quantity, sign, order.price) if crosses else ZERO
        return ZERO if order.life is Life.ALL_OR_NOTHING and takes < order.quantity else takes

    def work(self, change: Transaction, order: Order, quote: Quote, takes: Decimal, at_ms: int) -> None:
        """Let an order that is in the book take, then rest or expire. Our own orders never fill one another: the resting ones expire."""
        price = quote.price(takes, order.side.sign) if takes else ZERO
        rests = order.kind.priced and order.life is Life.UNTIL_CANCELLED
        if takes or rests:
            for number in self._own_crossed(order, order.price if order.kind.priced else price):
                self._clearing.end(change, self._clearing.book.by_id(number), Status.EXPIRED_IN_MATCH, at_ms)
        if takes:
            self.taken[order.symbol] = self.taken.get(order.symbol, ZERO) + takes
            self._clearing.execute(change, order, takes, price, maker=False, at_ms=at_ms)
        if order.open and rests:
            order.ahead = self._queue_before(order, quote, at_ms)
            self._clearing.rest(order)
        elif order.open:
            self._clearing.end(change, order, Status.EXPIRED, at_ms)

    def walk(self, change: Transaction, symbol: str, opened_ms: int, closes_ms: int) -> None:
        """Take the orders of a symbol along the path of the bar that closes."""
        candles = self._tape.candles[symbol]
        row, quote = candles.at(opened_ms), self.quote(symbol, opened_ms)
        if row is None or quote is None:
            return
        bar = _Bar(quote, ZERO, closes_ms)
        prices = (Decimal(str(float(column[row]))) for column in (candles.open, candles.high, candles.low, candles.close))
        for start, stop in pairwise(path_of(*prices)):
            self._leg(change, bar, start, stop)

    def open_bar(self, change: Transaction, symbol: str, at_ms: int) -> None:
        """Let sleeping orders see the first price of a new bar, which may lie beyond their trigger."""
        quote, candles = self.quote(symbol, at_ms), self._tape.candles[symbol]
        asleep = self._clearing.book.asleep(symbol) if quote is not None else []
        if quote is None or not asleep:
            return
        opened = Decimal(str(quote.open))
        before = Decimal(str(float(candles.close[max(candles.before(at_ms) - 1, 0)])))
        for order in asleep:
            if follow(order, before, opened):
                change.orders[order.id] = order
            if order.open and crossed(order, opened):
                self._wake(change, order, replace(quote, taken=self.taken.get(symbol, ZERO)), at_ms)

    def _leg(self, change: Transaction, bar: _Bar, start: Decimal, stop: Decimal) -> None:
        """One straight part of the path: what lies on the way happens in the order in which the price comes to it."""
        way, symbol, at = (stop > start) - (stop < start), bar.quote.listing.symbol, start
        self._follow(change, symbol, way, start, stop)
        while (due := self._next(symbol, way, at, stop)) is not None:
            level, order = due
            self._sweep(change, bar, at, level)
            at = level
            if order.open and not order.working:
                quote = replace(bar.quote, open=float(level), taken=self.taken.get(symbol, ZERO) + bar.made)
                self._wake(change, order, quote, bar.at_ms)
        self._sweep(change, bar, at, stop)
        self._touch(change, bar, Side.BUY if way < 0 else Side.SELL, stop)
        self._follow(change, symbol, -way, start, stop)

    def _follow(self, change: Transaction, symbol: str, way: int, start: Decimal, stop: Decimal) -> None:
        """Trailing triggers that wait for this direction see the leg."""
        for order in self._clearing.book.asleep(symbol):
            if direction(order.side, order.kind) == way and follow(order, start, stop):
                change.orders[order.id] = order

    def _next(self, symbol: str, way: int, at: Decimal, stop: Decimal) -> tuple[Decimal, Order] | None:
        """The first sleeping order that wakes on the way, and where."""
        due = []
        for order in self._clearing.book.asleep(symbol):
            level = trigger(order) if direction(order.side, order.kind) == way else None
            if level is not None and way * (stop - level) >= 0:
                reached = level if way * (level - at) > 0 else at
                due.append((way * (reached - at), order.id, reached, order))
        return min(due)[2:] if due else None

    def _wake(self, change: Transaction, order: Order, quote: Quote, at_ms: int) -> None:
        """A triggered order becomes what it asked to be; one that the account cannot pay any more expires."""
        clearing, listing = self._clearing, quote.listing
        clearing.engage(change, order, at_ms)
        order.working, order.working_ms, order.updated_ms = True, at_ms, at_ms
        takes = self.takes(order, quote)
        if not order.kind.priced and order.side is Side.BUY and not clearing.afford(order, takes * quote.price(takes, 1)):
            clearing.end(change, order, Status.EXPIRED, at_ms)
            return
        change.tell(order, listing, "NEW")
        self.work(change, order, quote, takes, at_ms)

    def _sweep(self, change: Transaction, bar: _Bar, at: Decimal, level: Decimal) -> None:
        """Fill resting orders that the price went through on its way."""
        tick = bar.quote.listing.tick
        below, above = math.floor(min(at, level) / tick) + 1, math.ceil(max(at, level) / tick) - 1
        self._fill(change, bar, Side.BUY, below, bar.left(self._taken(bar)))
        self._fill(change, bar, Side.SELL, above, bar.left(self._taken(bar)))

    def _touch(self, change: Transaction, bar: _Bar, side: Side, level: Decimal) -> None:
        """Fill orders resting at the very price where a leg turns, from what others bring beyond the queue before each."""
        listing = bar.quote.listing
        ticks = level / listing.tick
        resting = self._clearing.queues[listing.symbol].at(side, int(ticks)) if ticks == int(ticks) else []
        left = bar.left(self._taken(bar))
        flow, fills = min(touching_flow(listing, level, bar.at_ms, bar.quote.available), left) if resting else ZERO, ZERO
        for order in (self._clearing.book.by_id(number) for number in resting):
            waited = min(order.ahead, flow)
            order.ahead -= waited
            change.orders[order.id] = order
            filled = min(order.remaining, flow - waited)
            flow -= waited + filled
            fills += filled
        self._fill(change, bar, side, int(ticks), fills)

    def _fill(self, change: Transaction, bar: _Bar, side: Side, worst_ticks: int, quantity: Decimal) -> None:
        listing = bar.quote.listing
        for match in self._clearing.queues[listing.symbol].take(side, worst_ticks, int(quantity / listing.lot)):
            filled = match.lots * listing.lot
            bar.made += filled
            order = self._clearing.book.by_id(match.id)
            self._clearing.execute(change, order, filled, match.ticks * listing.tick, maker=True, at_ms=bar.at_ms)

    def _taken(self, bar: _Bar) -> Decimal:
        return self.taken.get(bar.quote.listing.symbol, ZERO)

    def _own_crossed(self, order: Order, worst: Decimal) -> list[int]:
        """Our own resting orders on the other side that a price would meet, oldest first."""
        queue, side = self._clearing.queues[order.symbol], OPPOSITE[order.side]
        if queue.best(side) is None:
            return []
        return sorted(queue.crossing(side, int(worst / self._tape.listings[order.symbol].tick)))

    def _queue_before(self, order: Order, quote: Quote, at_ms: int) -> Decimal:
        """What stands before an order that joins a price at or behind the touch; nobody stands before one that improves it."""
        improves = order.side.sign * (order.price - quote.touch(-order.side.sign)) > 0
        return ZERO if improves else queue_before(quote.listing, order.price, at_ms, quote.available)
