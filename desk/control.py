"""The operator's own hand on one account: whoever traded it and however that ended, everything is cancelled and closed.

What is closed goes the way of every order: sized from the book, judged by the guards, written down, sent, settled. Nothing here needs a feed, a
policy or a model: it must work when the trader is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from configs.risk import RiskSettings
from configs.vocabulary import Side, TradingState
from desk.books.journal import Journal, Recovered
from desk.books.portfolio import Portfolio
from desk.books.reconcile import agree
from desk.chain import MEMORY, Chain
from desk.errors import BookMismatch
from desk.events import Approved, Control, Fill, Order
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.manager import OrderManager
from desk.execution.order import FLATTEN_LEG, order_id
from desk.instruments import Instrument, quantity_of
from desk.risk.exposure import Book, RiskDesk, marked

# A thin book fills a market order in part: the rest is ordered again, so many times.
ROUNDS = 5
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Word:
    """What the operator said, and when: `at` (wall time) names the orders, so that one word can never close a position twice."""

    reason: str
    at: datetime

    @property
    def control(self) -> Control:
        """Only what reduces may leave, even from a desk that was halted: the operator's word counts as a resume to that state."""
        return Control(TradingState.REDUCING, f"{OPERATOR}: {self.reason}", int(self.at.timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose positions: the session, its grid, its limits; `prices` asks the market for last prices (quote) and for its time."""

    session_id: str
    instruments: Mapping[str, Instrument]
    risk: RiskSettings
    prices: Callable[[Sequence[str]], dict[str, float]]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Flattened:
    """What was done: executions found on the way, those that closed positions, lots that are left by symbol, and how book and account differ.

    Positions below the least notional cannot be sold and do not count as left.
    """

    settled: tuple[Fill, ...]
    closed: tuple[Fill, ...]
    left: dict[str, int]
    differences: str

    @property
    def flat(self) -> bool:
        """Whether nothing is held and the account agrees."""
        return not self.left and not self.differences


def flatten(subject: Subject, venue: ExchangeVenue, journal: Journal, word: Word) -> Flattened:
    """Settle what was under way, cancel everything of ours, close every position by market orders. Said twice, the second finds nothing to do.

    A book that differs from the account stops nothing here: what it holds is closed as far as it is there, and the difference is named.
    """
    recovered = journal.recover(subject.instruments)
    if recovered is None:
        # Before the first step there are no positions of ours.
        venue.cancel_open(word.at)
        return Flattened((), (), {}, "")
    hand = _Hand(subject, venue, journal, word, recovered)
    settled = hand.settle()
    closed = hand.close()
    return Flattened(settled, closed, hand.left(), hand.differences())


def flatten_unwritten(subject: Subject, venue: ExchangeVenue, word: Word) -> Flattened:
    """The same by what the exchange says, for a journal that can be neither believed nor written: the book is the account as it is now, kept in memory.

    `word` must be a later one than any that was tried with the journal: what that one sent is in the account already, or still on its way.
    """
    venue.cancel_open(word.at)
    quote = next(iter(subject.instruments.values())).quote
    instruments = {symbol: each for symbol, each in subject.instruments.items() if each.quote == quote}
    with Chain(MEMORY, sync=False) as chain:
        journal = Journal(chain, "")
        journal.record_opening(subject.now(), Portfolio.of_balances(instruments, quote, venue.account().balances))
        return flatten(replace(subject, instruments=instruments), venue, journal, word)


@dataclass(slots=True)
class _Hand:
    """One use of the operator's hand."""

    subject: Subject
    venue: ExchangeVenue
    journal: Journal
    word: Word
    recovered: Recovered

    @property
    def portfolio(self) -> Portfolio:
        """The book, kept up to date."""
        return self.recovered.portfolio

    def settle(self) -> tuple[Fill, ...]:
        """Orders under way are cancelled or proven dead, their executions booked; nothing of the last step is sent any more."""
        at, manager, last = self.recovered.at, OrderManager(self.venue, self.journal), self.recovered.last
        self.journal.record_control(at, self.word.control, sending=False)
        stops = (*last.cancels, *last.stops) if last else ()
        manager.cancel(stops, at)
        missing = manager.missing(self.recovered.pending)
        self.venue.cancel_open(at)
        fills = self._book()
        # Money that came or went is no difference.
        self.journal.record_flows(at, self.portfolio.news(self.venue.flows(self.subject.now()), self.recovered.opened_at or at))
        # A stop that is cancelled rests no more: the next session must not count on it.
        gone = {each.order_id: Approved(each) for each in stops} | {each.order.order_id: each for each in missing}
        manager.drop(tuple(gone.values()), at, f"{OPERATOR}: {self.word.reason}")
        return fills

    def close(self) -> tuple[Fill, ...]:
        """Market orders against what is held, until nothing is or nothing more is to be had."""
        closed: list[Fill] = []
        for attempt in range(1, ROUNDS + 1):
            orders = self._orders(attempt)
            if not orders:
                break
            self.journal.record_intents(self.recovered.at, orders)
            OrderManager(self.venue, self.journal).send(orders, self.recovered.at)
            fills = self._book()
            closed += fills
            if not fills:
                break
        return tuple(closed)

    def left(self) -> dict[str, int]:
        """Lots by symbol that could be sold and were not."""
        held = {symbol: lots for symbol, lots in self.portfolio.lots.items() if lots}
        prices, grid = self.subject.prices(sorted(held)), self.subject.instruments
        return {symbol: lots for symbol, lots in held.items() if abs(lots) * float(grid[symbol].lot) * prices[symbol] >= float(grid[symbol].min_notional)}

    def differences(self) -> str:
        """How the account differs from the book, in words; empty when it does not."""
        account = self.venue.account()
        try:
            agree(self.portfolio, account.balances, account.open_orders)
        except BookMismatch as error:
            return str(error)
        return ""

    def _orders(self, attempt: int) -> tuple[Approved, ...]:
        """One reducing order for each position, judged by the guards; sells first."""
        held = {symbol: lots for symbol, lots in self.portfolio.lots.items() if lots}
        if not held:
            return ()
        prices, now = self.subject.prices(sorted(held)), self.subject.now()
        wanted = [(self._order(symbol, lots, prices[symbol], (now, attempt)), -lots) for symbol, lots in sorted(held.items())]
        equity = self.portfolio.equity(prices)
        before = self.recovered.last.marks if self.recovered.last else None
        marks = marked(before, equity, now, self.subject.risk, self.word.control)
        book = Book(self.portfolio.lots, prices, equity, marks, self.word.control)
        desk = RiskDesk(self.subject.instruments, self.subject.risk)
        approved, _ = desk.judge(sorted(wanted, key=lambda item: item[1] > 0), book)
        return approved

    def _order(self, symbol: str, lots: int, price: float, when: tuple[datetime, int]) -> Order:
        now, attempt = when
        side, quantity = (Side.SELL if lots > 0 else Side.BUY), quantity_of(abs(lots), self.subject.instruments[symbol])
        identity = order_id(self.subject.session_id, symbol, self.word.at, FLATTEN_LEG, attempt)
        return Order(identity, symbol, side, quantity, now, Decimal(repr(price)), reduce_only=True)

    def _book(self) -> tuple[Fill, ...]:
        fills = tuple(fill for fill in self.venue.executions() if self.portfolio.apply(fill))
        self.journal.record_settled(self.recovered.at, fills)
        return fills
