"""Every journal verified and folded, and the live one compared with the account: what each book holds, and how it differs from the venue's truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from configs.vocabulary import TradingState, VenueName
from desk import log
from desk.books.journal import Recovered
from desk.books.reconcile import agree
from desk.chain import Chain, Head
from desk.clock import WallClock
from desk.errors import BookMismatch
from desk.execution.exchange_venue import market_now
from desk.execution.foreign import Look
from desk.execution.transfers import transfers
from desk.market.exchange_source import ExchangeSource
from tasks.oversight import switch_of
from tasks.sentry import alarm, sentry_of
from tasks.standing import balances_of, journaled, journals_of, recovered_from, venue_of
from tasks.values import Value

# An order may execute between two questions of one look: a difference counts when two looks at the same journal see it. Most looks.
LOOKS = 6


class Books(Value):
    """By session: entries that verify, and where the book stands. `account`: what the comparison with the venue came to, in words."""

    sessions: dict[str, str]
    account: str = "no exchange was reached"


@task(name="verify_books")
def verify_books(operations: OperationsSettings, market: MarketSettings) -> Books:
    """Read each journal beside its writer; JournalBroken names the first entry that does not fit, BookMismatch what differs from the account.

    A difference halts the desk. Nothing is repaired and nothing overwritten: that is the next start's, or a person's.
    """
    sessions = {path.stem: _verified(path) for path in journals_of(operations)}
    account = compared(operations) if market.venue is VenueName.PRACTICE else f"{market.venue} is not reached by this release"
    rows = [{"session": name, "found": found} for name, found in (*sessions.items(), ("account", account))]
    create_table_artifact(key="books", table=rows, description="journals, verified and folded")
    return Books(sessions=sessions, account=account)


def compared(operations: OperationsSettings) -> str:
    """Compare the live journal of the market that runs with its account, reading only; in words. BookMismatch when they differ."""
    reached = venue_of(operations)
    if reached is None:
        return "no exchange was reached"
    session_id, exchange = reached
    path = operations.var / "journal" / f"{session_id}.sqlite"
    if not path.exists():
        return f"no live session on this account ({session_id})"
    listed, before = ExchangeSource(exchange).instruments(), (Head(0, ""), "")
    for _ in range(LOOKS):
        with Chain.reading(path) as chain:
            recovered = recovered_from(chain, listed)
            if recovered is None:
                return f"{session_id} was never opened"
            instruments = {symbol: listed[symbol] for symbol in recovered.portfolio.positions if symbol in listed}
            found = sentry_of(operations, session_id, exchange, instruments).look(chain)
            seen = (chain.head, _difference(recovered, found, exchange))
        if seen == before or not seen[1]:
            return _judged(operations, session_id, found, seen[1])
        before = seen
    return f"{session_id} is trading: no two looks in {LOOKS} saw the same"


def _difference(recovered: Recovered, found: Look, exchange: Any) -> str:
    """How the book, with what was executed since, differs from the account."""
    portfolio = recovered.portfolio
    for fill in found.fills:
        portfolio.apply(fill)
    # Money that came or went is booked by whoever trades; here it only explains.
    for flow in portfolio.news(transfers(exchange, market_now(exchange)), recovered.opened_at or recovered.at):
        portfolio.move(flow)
    try:
        agree(portfolio, balances_of(exchange), ())
    except BookMismatch as error:
        return str(error)
    return ""


def _judged(operations: OperationsSettings, session_id: str, found: Look, problem: str) -> str:
    """Tell what was found; anything strange halts the desk, and a book that differs fails the run."""
    fresh = alarm(operations, session_id, found.strangers)
    named = [*map(str, fresh), *found.late, *([problem] if problem else [])]
    if problem or found.late:
        log.event("books.differ", level="ERROR", session=session_id, found=named)
        switch = switch_of(operations)
        if switch.read().state is not TradingState.HALTED:
            switch.turn(TradingState.HALTED, f"books differ: {'; '.join(named)}", WallClock().now())
        raise BookMismatch(f"expected {session_id} to equal its account, found {'; '.join(named)}: settle that, then tradewind resume --reason ...")
    return f"{session_id} equals its account" + (f"; foreign: {'; '.join(map(str, fresh))}" if fresh else "")


def _verified(path: Path) -> str:
    with Chain.reading(path) as chain:
        count = chain.verify().count
    found = journaled(path)
    last = f"equity {found.equity:.2f} at {found.last_step.isoformat()}" if found.last_step else "no step yet"
    return f"{count} entries verify, {last}"
