"""The operator's way out: end the trader if it still lives, take its lease, and close everything its journal holds.

A journal that cannot be believed or written stops nothing: then the exchange's word is the book. A disk on which nothing can be written stops nothing
either. What could not be written is said as loudly as what was done.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import task

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.vocabulary import Timeframe, TradingState, VenueName
from desk import log
from desk.books.journal import Journal
from desk.chain import Chain
from desk.clock import WallClock
from desk.control import Flattened, Subject, Word, flatten, flatten_unwritten
from desk.errors import BookMismatch, GateClosed, JournalBroken, JournalStalled, PreflightFailed
from desk.execution.exchange_venue import ExchangeVenue, market_now
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.wire_errors import asking
from desk.security.arming import SILENCE_S, ArmedLease
from tasks.market import connection
from tasks.oversight import switch_of
from tasks.services import Greeting, listening_exchange, recorded_exchange
from tasks.stalls import written_in_time
from tasks.standing import lease_of, live_session, opened_symbols, reading, trader_of
from tasks.values import Value

# The lease of one panic.
ARMED = timedelta(minutes=10)
# A trader that was asked to end has this long; one that is stopped falls silent, and is followed after SILENCE_S.
PATIENCE_S = SILENCE_S + 15.0
LOOK_EVERY_S = 0.2
# What reading or writing a damaged journal ends in: our own word for it, or that of whatever met the damage first.
BROKEN = (JournalBroken, BookMismatch, sqlite3.Error, ArithmeticError, LookupError, OSError, TypeError, ValueError)


class Panic(Value):
    """What became of it: executions that closed something, lots that are left by symbol, differences between book and account in words, what could not
    be written down, and whether the desk is halted.
    """

    session_id: str
    closed: tuple[str, ...]
    left: dict[str, int]
    differences: str
    unwritten: tuple[str, ...] = ()
    halted: bool = True

    @property
    def flat(self) -> bool:
        """Whether nothing is held, and the account says so too."""
        return not self.left and not self.differences


@task(name="flatten_account")
def flatten_account(market: MarketSettings, risk: RiskSettings, operations: OperationsSettings, settings_hash: str, reason: str) -> Panic:
    """`close_everything` as a step of a flow; what is left fails it."""
    done = close_everything(market, risk, operations, settings_hash, reason)
    if not done.flat:
        raise PreflightFailed(f"expected a flat account, found {done.left or ''} {done.differences}: settle that by hand on the exchange")
    return done


def close_everything(market: MarketSettings, risk: RiskSettings, operations: OperationsSettings, settings_hash: str, reason: str) -> Panic:
    """Halt the desk, end its trader, cancel its orders, close its positions. The desk stays halted until somebody resumes.

    Needs no Prefect, no feed and no model: the exchange, the journal and the lease are enough. Said twice, the second finds nothing to do.
    """
    if market.venue is not VenueName.PRACTICE:
        hint = f"set DESK__MARKET__VENUE=practice, or close by hand on {market.venue}"
        raise PreflightFailed(f"expected market.venue practice, found {market.venue}: this release trades on the practice exchange only; {hint}")
    word, unwritten = Word(reason, WallClock().now()), _Unwritten()
    switch = switch_of(operations)
    hangs, problem = written_in_time(lambda: switch.turn(TradingState.HALTED, f"flattened: {reason}", word.at))
    if problem:
        unwritten.tell("the switch", problem, "nothing new was said to the desk")
    greeting = listening_exchange(operations) or recorded_exchange(operations)
    session_id = live_session(greeting)
    _end_trader(operations)
    with _lease(operations) as lease:
        if lease.unwritten:
            unwritten.tell("the lease", "its disk is full", f"it is held by its lock, under token {lease.token}")
        account = _Account(greeting, lease, risk, operations.var / "journal" / f"{session_id}.sqlite", unwritten)
        done = account.closed(word, settings_hash, hangs=hangs)
    closed = tuple(f"{fill.side.value} {fill.quantity} {fill.symbol} at {fill.price}" for fill in done.closed)
    log.event("account.flattened", level="WARNING", session=session_id, closed=list(closed), left=done.left, differences=done.differences, reason=reason)
    halted = switch.read().state is TradingState.HALTED
    return Panic(session_id=session_id, closed=closed, left=done.left, differences=done.differences, unwritten=tuple(unwritten), halted=halted)


class _Unwritten(list[str]):
    """What could not be written, in words."""

    def tell(self, what: str, why: str, so: str) -> None:
        """Say it at once, and again at the end."""
        log.event("panic.unwritten", level="CRITICAL", what=what, why=why, so=so)
        self.append(f"{what}: {why}; {so}")


class _Account:
    """The account of one exchange, and the journal (at `path`) of whoever trades it."""

    def __init__(self, greeting: Greeting, lease: ArmedLease, risk: RiskSettings, path: Path, unwritten: _Unwritten) -> None:
        self._lease, self._risk, self._path, self._unwritten = lease, risk, path, unwritten
        self._bar = Timeframe(greeting.market["timeframe"]).delta
        self._exchange = open_exchange(connection(greeting))
        self._listed = ExchangeSource(self._exchange).instruments()
        with asking("its markets"):
            self._exchange.load_markets()

    def closed(self, word: Word, settings_hash: str, *, hangs: bool) -> Flattened:
        """By the journal, where there is one that can be read and written; by the exchange's word otherwise. `hangs`: whoever writes waits for ever."""
        if not self._path.exists():
            self._venue(self._listed).cancel_open(word.at)
            return Flattened((), (), {}, "")
        instruments = self._instruments()
        try:
            if hangs:
                raise JournalStalled(f"expected a disk that answers, found one that hangs: {self._path} was not touched")
            with Chain(self._path, sync=True, takeover=self._lease.took_over) as chain:
                return flatten(self._subject(instruments), self._venue(instruments), Journal(chain, settings_hash), word)
        except BROKEN as error:
            self._unwritten.tell("the journal", f"{type(error).__name__}: {error}", "everything is closed by what the exchange says")
        # Another word, for other orders: what was sent before the journal failed is in the account, or ends there.
        return flatten_unwritten(self._subject(instruments), self._venue(instruments), replace(word, at=WallClock().now()))

    def _instruments(self) -> dict[str, Instrument]:
        """Those that the journal was opened on; all of them where it does not say."""
        try:
            with reading(self._path) as chain:
                symbols = opened_symbols(chain)
        except JournalBroken:
            symbols = ()
        return {symbol: self._listed[symbol] for symbol in symbols if symbol in self._listed} or self._listed

    def _subject(self, instruments: dict[str, Instrument]) -> Subject:
        exchange = self._exchange
        return Subject(self._path.stem, instruments, self._risk, lambda symbols: _prices(exchange, symbols), lambda: market_now(exchange))

    def _venue(self, instruments: dict[str, Instrument]) -> ExchangeVenue:
        # No breaker and no switch before these orders: both are there to keep positions from growing.
        return ExchangeVenue(self._exchange, instruments, clock=WallClock(), lease=self._lease, bar=self._bar)


def _prices(exchange: Any, symbols: Sequence[str]) -> dict[str, float]:
    prices = {}
    for symbol in symbols:
        with asking(f"the last price of {symbol}"):
            prices[symbol] = float(exchange.fetch_ticker(symbol)["last"])
    return prices


def _end_trader(operations: OperationsSettings) -> None:
    """Ask the process that has the lease to end, if it still lives."""
    lease = lease_of(operations)
    trader = lease.holder
    if lease.state in ("held", "silent") and trader is not None and trader.pid != os.getpid():
        log.event("trader.asked_to_end", level="WARNING", pid=trader.pid, session=trader.session_id)
        os.kill(trader.pid, signal.SIGTERM)


def _lease(operations: OperationsSettings) -> ArmedLease:
    """The lease, as soon as the trader has given it back, has died, or has been silent for long enough."""
    clock, path = WallClock(), operations.var / "run" / "armed"
    deadline = clock.seconds() + PATIENCE_S
    while True:
        try:
            return ArmedLease(path, clock.now() + ARMED, lock_may_do=True)
        except GateClosed as error:
            if clock.seconds() > deadline:
                trader = trader_of(operations)
                who = f"process {trader.pid}" if trader else "a process"
                raise GateClosed(f"expected the trader to end within {PATIENCE_S:g} s, found {who} still armed; the desk is halted, end it by hand") from error
            clock.wait(LOOK_EVERY_S)
