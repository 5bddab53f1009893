"""Perpetual contracts on the same tape: orders, conditional orders, positions, funding, liquidation. It knows nothing of wires.

Takers meet the forming bar at its open, with spread and impact. When a bar closes, resting and conditional orders meet its path; then funding is
settled and margins are judged at the close, which is the mark price; then the next bar opens, and what its open has jumped over is triggered
there. One transaction is one journal line, written before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from configs.vocabulary import Side
from desk.practice_exchange.clock import MarketClock
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.funding import Funding, payment
from desk.practice_exchange.happenings import BoundaryReached, Happening
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.margin import CALL_SHARE, CLEARANCE_RATE, largest_notional
from desk.practice_exchange.perpetual_account import Holding
from desk.practice_exchange.perpetual_book import Change, ContractBoundary, ContractHappening, MarginCalled
from desk.practice_exchange.perpetual_dealing import ContractDealing
from desk.practice_exchange.perpetual_orders import (
    ContractKind,
    ContractLife,
    ContractOrder,
    ContractStatus,
    ContractTicket,
    Watch,
    WatchKind,
    WatchStatus,
    WatchTicket,
)
from desk.practice_exchange.perpetual_refusals import (
    AlreadyReducing,
    BeyondBracket,
    LeverageHeld,
    NothingToChange,
    NothingToReduce,
    WouldTrigger,
)
from desk.practice_exchange.perpetual_walk import Walk
from desk.practice_exchange.refusals import DuplicateOrder, MarketClosed, UnknownOrder, WouldTake

LIQUIDATION = "autoclose-"


class Perpetuals:
    """Every contract and one account. `publish` hears of everything that happened, after it was written."""

    def __init__(self, dealing: ContractDealing, clock: MarketClock, funding: Funding, deposit: Decimal) -> None:
        self.book, self.account = dealing.book, dealing.account
        self.clock = clock
        self.funding = funding
        self.publish: Callable[[ContractHappening], None] = lambda happening: None
        self._dealing = dealing
        if self.book.now_ms is None:
            for asset in self.account.assets:
                self.book.ledger.deposit(asset, deposit)
        self._settled_ms = clock.settled_ms if self.book.now_ms is None else self.book.now_ms
        self.settle()
        self.book.compact(self._settled_ms)

    def follow(self, exchange: Exchange) -> None:
        """Settle every boundary after the spot side has settled it and told of it."""
        spot_hears = exchange.publish

        def publish(happening: Happening) -> None:
            spot_hears(happening)
            if isinstance(happening, BoundaryReached):
                self.settle()

        exchange.publish = publish

    @property
    def settled_ms(self) -> int:
        """The last boundary every consequence of which is booked."""
        return self._settled_ms

    @property
    def fee_rate(self) -> Decimal:
        """Commission of a fill, fraction of its notional."""
        return self._dealing.fee_rate

    @property
    def starts_at_ms(self) -> int:
        """When the first bar of the tape opened."""
        return self._dealing.tape.starts_at_ms

    def quote(self, symbol: str) -> Quote | None:
        """The market of a symbol at this instant; None when no bar opened at the last boundary."""
        return self._dealing.quote(symbol, self._settled_ms)

    def closed_row(self, symbol: str) -> int | None:
        """The row of the bar that closed at the last boundary, or None."""
        return self._dealing.tape.candles[symbol].at(self._settled_ms - self.clock.step_ms)

    def place(self, ticket: ContractTicket) -> ContractOrder:
        """Accept an order and let it meet the market. Raises a Refusal and changes nothing when it cannot be accepted."""
        quote = self._open_quote(ticket.symbol)
        if any(order.client_id == ticket.client_id for order in self.book.open_orders()):
            raise DuplicateOrder
        now_ms = self.clock.milliseconds()
        order = self._dealing.order_of(ticket, now_ms)
        self._check(order, quote)
        change = Change()
        self.book.enter(order)
        change.tell_order(order, "NEW")
        self._dealing.meet(change, order, quote, now_ms)
        self._commit(change)
        return order

    def amend(self, order: ContractOrder | None, quantity: Decimal, price: Decimal) -> ContractOrder:
        """Give an open limit order another quantity and price; it keeps its id and loses its place in time."""
        if order is None or not order.open or order.kind is not ContractKind.LIMIT:
            raise UnknownOrder
        if (order.quantity, order.price) == (quantity, price):
            raise NothingToChange
        if quantity <= order.filled:
            return self.cancel(order)
        quote = self._open_quote(order.symbol)
        self._check(replace(order, quantity=quantity, price=price), quote, replaced=order)
        order.quantity, order.price = quantity, price
        order.rank = self.book.next_rank
        order.updated_ms = self.clock.milliseconds()
        change = Change()
        change.tell_order(order, "AMENDMENT")
        self._dealing.meet(change, order, quote, order.updated_ms)
        self._commit(change)
        return order

    def cancel(self, order: ContractOrder | None) -> ContractOrder:
        """Cancel an open order; raises UnknownOrder when there is none."""
        if order is None or not order.open:
            raise UnknownOrder
        change = Change()
        self._dealing.end(change, order, ContractStatus.CANCELED, self.clock.milliseconds())
        self._commit(change)
        return order

    def watch(self, ticket: WatchTicket) -> Watch:
        """Accept a conditional order. Raises WouldTrigger when its price is reached already."""
        quote = self._open_quote(ticket.symbol)
        if any(watch.client_id == ticket.client_id for watch in self.book.waiting()):
            raise DuplicateOrder
        now_ms = self.clock.milliseconds()
        words = (ticket.client_id, ticket.symbol, ticket.side, ticket.kind, ticket.life, ticket.quantity, ticket.price, ticket.trigger)
        watch = Watch(self.book.next_watch, *words, ticket.callback, ticket.by_mark, ticket.reduces, ticket.closes, now_ms, now_ms)
        seen = self.account.mark(ticket.symbol, self._settled_ms) if watch.by_mark else Decimal(str(quote.open))
        if ticket.kind is WatchKind.TRAILING:
            watch.follow(seen)
        elif watch.reached(seen):
            raise WouldTrigger
        change = Change()
        self.book.enter_watch(watch)
        change.tell_watch(watch)
        self._commit(change)
        return watch

    def cancel_watch(self, watch: Watch | None) -> Watch:
        """Cancel a waiting conditional order; raises UnknownOrder when there is none."""
        if watch is None or watch.status is not WatchStatus.NEW:
            raise UnknownOrder
        change = Change()
        self._dealing.end_watch(change, watch, WatchStatus.CANCELED, self.clock.milliseconds())
        self._commit(change)
        return watch

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Choose a leverage. Raises LeverageHeld when the position would need more margin than there is, or is too large for it."""
        holding = self.account.holding(symbol, self._settled_ms)
        if abs(holding.notional) > largest_notional(leverage):
            raise BeyondBracket
        more = self.account.bound(symbol, self._settled_ms, leverage=leverage) - self.account.bound(symbol, self._settled_ms)
        if more > self.account.standing(self.account.listing(symbol).quote, self._settled_ms).available:
            raise LeverageHeld
        self.book.leverage[symbol] = leverage
        change = Change()
        change.leverage.add(symbol)
        self._commit(change)

    def settle(self) -> None:
        """Do every boundary that the market's clock has passed. With nothing at stake time just passes."""
        while self._settled_ms < self.clock.settled_ms:
            if self.book.idle:
                self._settled_ms = self.clock.settled_ms
                self.book.taken.clear()
            else:
                self._boundary(self._settled_ms + self.clock.step_ms)
        self.publish(ContractBoundary(self._settled_ms))

    def _open_quote(self, symbol: str) -> Quote:
        quote = self.quote(symbol)
        if quote is None or self.clock.over:
            raise MarketClosed
        return quote

    def _check(self, order: ContractOrder, quote: Quote, replaced: ContractOrder | None = None) -> None:
        """Whether an order may stand: reduce-only, post-only, bracket and margin, in this order."""
        if order.reduces:
            self._check_reduces(order, replaced)
        if order.life is ContractLife.POST_ONLY and self._dealing.crosses(order, quote):
            raise WouldTake
        if order.reduces:
            return
        sign = order.side.sign
        takes = self._dealing.takes(order, quote)
        price = quote.price(takes, sign) if takes else order.price
        mark = self.account.mark(order.symbol, self._settled_ms)
        held = self.account.holding(order.symbol, self._settled_ms).notional
        notional = sign * order.remaining * price - (sign * replaced.remaining * replaced.price if replaced is not None else ZERO)
        if sign * notional <= 0:
            return
        if abs(held + notional) > largest_notional(self.account.leverage(order.symbol)) and abs(held + notional) > abs(held):
            raise BeyondBracket
        self._dealing.check_margin(order.symbol, notional, sign * (price - mark) * takes, self._settled_ms)

    def _check_reduces(self, order: ContractOrder, replaced: ContractOrder | None) -> None:
        closable = self._dealing.closable(order.symbol, order.side)
        if not closable:
            raise NothingToReduce
        resting = [each for each in self.book.resting_reducers(order.symbol, order.side) if each is not replaced]
        if sum((each.remaining for each in resting), ZERO) >= closable:
            raise AlreadyReducing

    def _boundary(self, boundary: int) -> None:
        """One bar of every symbol closes and the next one opens."""
        change, opened = Change(), self._settled_ms
        for symbol in self._watched():
            row = self._dealing.tape.candles[symbol].at(opened)
            if row is not None:
                Walk(self._dealing, change, symbol, opened, boundary).closed(row)
        self._settled_ms = boundary
        self.book.taken.clear()
        for instant in self.funding.instants(opened, boundary):
            self._fund(change, instant)
        for asset in self.account.assets:
            self._judge(change, asset)
        for symbol in self._watched():
            quote = self.quote(symbol)
            if quote is not None:
                mark = self.account.mark(symbol, boundary)
                Walk(self._dealing, change, symbol, boundary, boundary).opened(Decimal(str(quote.open)), mark)
        self._commit(change)

    def _watched(self) -> list[str]:
        orders = {order.symbol for order in self.book.open_orders()}
        return sorted(orders | {watch.symbol for watch in self.book.waiting()})

    def held(self, asset: str) -> list[Holding]:
        """Positions settled in an asset, the one that must keep most first."""
        symbols = [symbol for symbol, position in sorted(self.book.ledger.positions.items()) if position.quantity]
        found = [self.account.holding(symbol, self._settled_ms) for symbol in symbols if self.account.listing(symbol).quote == asset]
        return sorted(found, key=lambda holding: -holding.maintenance)

    def _fund(self, change: Change, instant: int) -> None:
        """Settle funding at the mark price, whoever pays."""
        for asset in self.account.assets:
            for holding in self.held(asset):
                amount = payment(holding.quantity, holding.mark, self.funding.rate(holding.symbol, instant))
                self.book.ledger.pay_funding(asset, amount)
                self._dealing.income(change, "FUNDING_FEE", holding.symbol, -amount, instant, detail=str(instant))
                change.tell_account("FUNDING_FEE", asset, holding.symbol)

    def _judge(self, change: Change, asset: str) -> None:
        """Call for margin when maintenance comes close to the margin balance, liquidate when it reaches it."""
        standing = self.account.standing(asset, self._settled_ms)
        if not standing.maintenance or standing.maintenance < CALL_SHARE * standing.balance:
            return
        if standing.maintenance < standing.balance:
            change.told.append(MarginCalled(asset))
            return
        for order in self.book.open_orders():
            if self.account.listing(order.symbol).quote == asset:
                self._dealing.end(change, order, ContractStatus.CANCELED, self._settled_ms)
        for holding in self.held(asset):
            self._liquidate(change, holding)
            standing = self.account.standing(asset, self._settled_ms)
            if standing.maintenance < standing.balance:
                break
        shortfall = -self.book.ledger.purse(asset).wallet
        if not self.held(asset) and shortfall > 0:
            self._insure(change, asset, -shortfall, "")

    def _liquidate(self, change: Change, holding: Holding) -> None:
        """Close a whole position at the mark price, and pay the clearance fee as far as the wallet reaches."""
        side = Side.SELL if holding.quantity > 0 else Side.BUY
        client_id = f"{LIQUIDATION}{self._settled_ms}"
        words = (holding.symbol, side, ContractKind.LIMIT, ContractLife.NOW_OR_NEVER, abs(holding.quantity), holding.mark, True, client_id, "LIMIT")
        order = self._dealing.order_of(ContractTicket(*words), self._settled_ms)
        self.book.enter(order)
        self._dealing.execute(change, order, order.quantity, holding.mark, self._settled_ms, maker=False, what="CALCULATED")
        asset = self.account.listing(holding.symbol).quote
        fee = min(payment(abs(holding.quantity), holding.mark, CLEARANCE_RATE), max(self.book.ledger.purse(asset).wallet, ZERO))
        if fee:
            self._insure(change, asset, fee, holding.symbol)

    def _insure(self, change: Change, asset: str, amount: Decimal, symbol: str) -> None:
        self.book.ledger.pay_insurance(asset, amount)
        change.tell_account("INSURANCE_CLEAR", asset)
        if symbol:
            self._dealing.income(change, "INSURANCE_CLEAR", symbol, -amount, self._settled_ms)

    def _commit(self, change: Change) -> None:
        if not change.empty:
            self.book.write(change, self._settled_ms)
        for happening in change.told:
            self.publish(happening)
