"""The operator's way out: end the trader if it still lives, take its lease, and close everything its journal holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
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
from desk.control import Flattened, Subject, Word, flatten
from desk.errors import GateClosed, PreflightFailed
from desk.execution.exchange_venue import ExchangeVenue, market_now
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.wire_errors import asking
from desk.security.arming import SILENCE_S, ArmedLease
from tasks.market import connection
from tasks.oversight import switch_of
from tasks.services import Greeting, recorded_exchange
from tasks.standing import lease_of, live_session, opened_symbols, trader_of
from tasks.values import Value

# The lease of one panic.
ARMED = timedelta(minutes=10)
# A trader that was asked to end has this long; one that is stopped falls silent, and is followed after SILENCE_S.
PATIENCE_S = SILENCE_S + 15.0
LOOK_EVERY_S = 0.2


class Panic(Value):
    """What became of it: executions that closed something, lots that are left by symbol, differences between book and account in words."""

    session_id: str
    closed: tuple[str, ...]
    left: dict[str, int]
    differences: str

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
    word = Word(reason, WallClock().now())
    switch_of(operations).turn(TradingState.HALTED, f"flattened: {reason}", word.at)
    greeting = recorded_exchange(operations)
    session_id = live_session(greeting)
    _end_trader(operations)
    with _lease(operations) as lease:
        done = _flattened(greeting, (operations.var / "journal" / f"{session_id}.sqlite", settings_hash), risk, word, lease)
    closed = tuple(f"{fill.side.value} {fill.quantity} {fill.symbol} at {fill.price}" for fill in done.closed)
    log.event("account.flattened", level="WARNING", session=session_id, closed=list(closed), left=done.left, differences=done.differences, reason=reason)
    return Panic(session_id=session_id, closed=closed, left=done.left, differences=done.differences)


def _flattened(greeting: Greeting, book: tuple[Path, str], risk: RiskSettings, word: Word, lease: ArmedLease) -> Flattened:
    path, settings_hash = book
    exchange = open_exchange(connection(greeting))
    listed = ExchangeSource(exchange).instruments()
    with asking("its markets"):
        exchange.load_markets()
    if not path.exists():
        _venue(exchange, listed, greeting, lease).cancel_open(word.at)
        return Flattened((), (), {}, "")
    with Chain(path, sync=True, takeover=lease.took_over) as chain:
        symbols = opened_symbols(chain)
        instruments = {symbol: listed[symbol] for symbol in symbols} if symbols else listed
        subject = Subject(path.stem, instruments, risk, lambda held: _prices(exchange, held), lambda: market_now(exchange))
        return flatten(subject, _venue(exchange, instruments, greeting, lease), Journal(chain, settings_hash), word)


def _venue(exchange: Any, instruments: dict[str, Instrument], greeting: Greeting, lease: ArmedLease) -> ExchangeVenue:
    # No breaker and no switch before these orders: both are there to keep positions from growing.
    return ExchangeVenue(exchange, instruments, clock=WallClock(), lease=lease, bar=Timeframe(greeting.market["timeframe"]).delta)


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
            return ArmedLease(path, clock.now() + ARMED)
        except GateClosed as error:
            if clock.seconds() > deadline:
                trader = trader_of(operations)
                who = f"process {trader.pid}" if trader else "a process"
                raise GateClosed(f"expected the trader to end within {PATIENCE_S:g} s, found {who} still armed; the desk is halted, end it by hand") from error
            clock.wait(LOOK_EVERY_S)
