"""How contract orders meet the market: what they take, what they may only reduce, and what a reached conditional order becomes."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.liquidity import Quote
from desk.practice_exchange.perpetual_account import ContractAccount
from desk.practice_exchange.perpetual_book import Change, ContractBook
from desk.practice_exchange.perpetual_orders import (
    ContractFill,
    ContractKind,
    ContractLife,
    ContractOrder,
    ContractStatus,
    ContractTicket,
    Income,
    Watch,
    WatchStatus,
)
from desk.practice_exchange.perpetual_refusals import InsufficientMargin, NothingToReduce
from desk.practice_exchange.refusals import Refusal
from desk.practice_exchange.tape import Tape

COMMISSION_STEP = Decimal("1e-8")


class ContractDealing:
    """Executes on one account. What was taken of the forming bar is not there again until the next one opens."""

    def __init__(self, tape: Tape, costs: CostSettings, book: ContractBook, account: ContractAccount) -> None:
        self.tape = tape
        self.book = book
        self.account = account
        self._costs = costs
        self.fee_rate = Decimal(str(costs.fee_rate))

    def quote(self, symbol: str, open_ms: int, price: Decimal | None = None) -> Quote | None:
        """The liquidity of the bar opened at this instant, around a price or its open; None when there is no bar."""
        candles = self.tape.candles[symbol]
        row = candles.at(open_ms)
        if row is None:
            return None
        around = float(candles.open[row]) if price is None else float(price)
        return Quote(self.account.listing(symbol), self._costs, around, float(candles.volume[row]), self.book.taken.get(symbol, ZERO))

    def closable(self, symbol: str, side: Side) -> Decimal:
        """How much an order of this side can reduce."""
        return max(-side.sign * self.book.ledger.held(symbol).quantity, ZERO)

    def wanted(self, order: ContractOrder) -> Decimal:
        """What an order may fill now: clamped to the position when it may only reduce."""
        return min(order.remaining, self.closable(order.symbol, order.side)) if order.reduces else order.remaining

    def takes(self, order: ContractOrder, quote: Quote) -> Decimal:
        """How much an order takes from the market at once."""
        sign, wanted = order.side.sign, self.wanted(order)
        if order.kind is ContractKind.MARKET:
            return min(wanted, quote.available)
        if not self.crosses(order, quote):
            return ZERO
        takes = quote.within_limit(wanted, sign, order.price)
        return ZERO if order.life is ContractLife.ALL_OR_NOTHING and takes < wanted else takes

    def crosses(self, order: ContractOrder, quote: Quote) -> bool:
        """Whether a limit order meets the other side at once."""
        return order.side.sign * (order.price - quote.touch(order.side.sign)) >= 0

    def meet(self, change: Change, order: ContractOrder, quote: Quote, at_ms: int) -> None:
        """Let an entered order take what it can; what may not rest expires."""
        takes = self.takes(order, quote)
        if takes:
            self.execute(change, order, takes, quote.price(takes, order.side.sign), at_ms, maker=False)
        resting = order.kind is ContractKind.LIMIT and order.life in (ContractLife.UNTIL_CANCELLED, ContractLife.POST_ONLY)
        if order.open and not resting:
            self.end(change, order, ContractStatus.EXPIRED, at_ms)

    def order_of(self, ticket: ContractTicket, at_ms: int) -> ContractOrder:
        """An order that is not entered yet."""
        words = (ticket.client_id, ticket.symbol, ticket.side, ticket.kind, ticket.life, ticket.origin)
        amounts = (ticket.quantity, ticket.price, ticket.reduces, ticket.closes)
        return ContractOrder(self.book.next_order, self.book.next_rank, *words, *amounts, at_ms, at_ms)

    def check_margin(self, symbol: str, notional: Decimal, loss: Decimal, at_ms: int) -> None:
        """Raises InsufficientMargin when an order of this signed notional needs more than there is; `loss` is what it loses at once."""
        needed = self.account.bound(symbol, at_ms, notional) - self.account.bound(symbol, at_ms)
        if needed > 0 and needed + max(loss, ZERO) > self.account.standing(self.account.listing(symbol).quote, at_ms).available:
            raise InsufficientMargin

    def execute(self, change: Change, order: ContractOrder, quantity: Decimal, price: Decimal, at_ms: int, *, maker: bool, what: str = "TRADE") -> None:
        """Book one fill."""
        asset = self.account.listing(order.symbol).quote
        commission = (quantity * price * self.fee_rate).quantize(COMMISSION_STEP, ROUND_HALF_UP)
        realised = self.book.ledger.trade(order.symbol, asset, order.side.sign * quantity, price, commission)
        self.book.ledger.position(order.symbol).updated_ms = at_ms
        order.filled += quantity
        order.worth += quantity * price
        order.updated_ms = at_ms
        order.status = ContractStatus.FILLED if order.filled == order.quantity else ContractStatus.PARTIALLY_FILLED
        number = self.book.fills[-1].id + 1 if self.book.fills else 1
        fill = ContractFill(number, order.id, order.symbol, order.side, quantity, price, commission, realised, at_ms, maker)
        self.book.fills.append(fill)
        self.book.settle(order)
        self.book.taken[order.symbol] = self.book.taken.get(order.symbol, ZERO) + quantity
        change.fills.append(fill)
        change.tell_account("ORDER", asset, order.symbol)
        change.tell_order(order, what, fill)
        for kind, amount in (("REALIZED_PNL", realised), ("COMMISSION", -commission)):
            if amount:
                self.income(change, kind, order.symbol, amount, at_ms, detail=str(fill.id))
        self._expire_reducers(change, order.symbol, at_ms)

    def income(self, change: Change, kind: str, symbol: str, amount: Decimal, at_ms: int, *, detail: str = "") -> None:
        """Note what moved the wallet."""
        number = self.book.incomes[-1].id + 1 if self.book.incomes else 1
        income = Income(number, kind, symbol, self.account.listing(symbol).quote, amount, at_ms, detail)
        self.book.incomes.append(income)
        change.incomes.append(income)

    def end(self, change: Change, order: ContractOrder, status: ContractStatus, at_ms: int) -> None:
        """End an open order without another fill."""
        order.status = status
        order.updated_ms = at_ms
        self.book.settle(order)
        change.tell_order(order, status.value)

    def end_watch(self, change: Change, watch: Watch, status: WatchStatus, at_ms: int, reason: str = "") -> None:
        """End a waiting conditional order."""
        watch.status = status
        watch.updated_ms = at_ms
        watch.reason = reason
        self.book.settle_watch(watch)
        change.tell_watch(watch)

    def trigger(self, change: Change, watch: Watch, quote: Quote, at_ms: int) -> None:
        """A reached conditional order becomes a plain one, or is rejected when that cannot be accepted."""
        watch.triggered_ms = at_ms
        try:
            order = self._launched(watch, quote, at_ms)
        except Refusal as refusal:
            self.end_watch(change, watch, WatchStatus.REJECTED, at_ms, type(refusal).__name__)
            return
        watch.order_id = order.id
        self.end_watch(change, watch, WatchStatus.TRIGGERED, at_ms)
        self.book.enter(order)
        change.tell_order(order, "NEW")
        self.meet(change, order, quote, at_ms)
        watch.status = WatchStatus.FINISHED
        change.tell_watch(watch)

    def _launched(self, watch: Watch, quote: Quote, at_ms: int) -> ContractOrder:
        closable = self.closable(watch.symbol, watch.side)
        if watch.reduces and not closable:
            raise NothingToReduce
        kind = ContractKind.LIMIT if watch.kind.limited else ContractKind.MARKET
        quantity = closable if watch.closes else watch.quantity
        words = (watch.symbol, watch.side, kind, watch.life, quantity, watch.price, watch.reduces, watch.client_id, watch.kind.value, watch.closes)
        order = self.order_of(ContractTicket(*words), at_ms)
        if not watch.reduces:
            price = watch.price if watch.kind.limited else quote.price(min(quantity, quote.available), watch.side.sign)
            self.check_margin(watch.symbol, watch.side.sign * quantity * price, ZERO, at_ms)
        return order

    def _expire_reducers(self, change: Change, symbol: str, at_ms: int) -> None:
        """Once nothing is left for them to reduce, resting reduce-only orders expire."""
        for side in Side:
            if not self.closable(symbol, side):
                for order in self.book.resting_reducers(symbol, side):
                    self.end(change, order, ContractStatus.EXPIRED, at_ms)
