"""Where this installation stands: who trades, under which lease, with what in the books. Reads only, and asks no exchange unless one runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk.books.fold import OPENED, STEP
from desk.books.journal import Journal, Recovered
from desk.books.records import step_of
from desk.books.upcasters import current
from desk.chain import Chain
from desk.clock import WallClock
from desk.errors import JournalBroken, Transient
from desk.execution.ccxt_settings import constructor_config
from desk.instruments import Instrument
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.wire_errors import asking
from desk.security.arming import SILENCE_S, lease_seen
from tasks.oversight import breaker_of, switch_of
from tasks.sentry import unacknowledged
from tasks.services import Greeting, listening_exchange
from tasks.services.records import Process, this_process
from tasks.values import Value

# Entries among which the newest step usually is.
RECENT = 64
LIVE = "live-"


class Trader(Process):
    """The process that last took the lease."""

    session_id: str
    since: datetime


class Lease(Value):
    """Who may order: `state` is free, held, silent (a holder that may be followed) or dead (its holder is gone)."""

    state: str
    silent_s: float | None = None
    token: int = 0
    holder: Trader | None = None


class Journaled(Value):
    """One session's journal: its entries, and what its newest step says; `latched` is what its risk rules remember, `broken` why it cannot be read."""

    session_id: str
    entries: int
    last_step: datetime | None = None
    equity: float | None = None
    latched: str = ""
    broken: str = ""


class Standing(Value):
    """The whole installation. `open_orders`: every open order of the account by the exchange's id; None: no exchange was reached."""

    mode: str
    lease: Lease
    state: str
    reason: str
    errors: dict[str, int]
    breakers: dict[str, str]
    journals: tuple[Journaled, ...]
    open_orders: dict[str, str] | None
    foreign: dict[str, str]


class Position(Value):
    """One asset of one session: what our book holds, and what the venue says where it was reached. Quantities in base, prices and value in quote."""

    session_id: str
    asset: str
    quantity: Decimal
    entry: Decimal | None = None
    close: float | None = None
    value: float | None = None
    venue: Decimal | None = None


def standing(operations: OperationsSettings, mode: str) -> Standing:
    """Look at everything once; nothing is verified here and nothing repaired."""
    told, account = switch_of(operations).read(), venue_of(operations)
    return Standing(
        mode=mode,
        lease=lease_of(operations),
        state=told.state.value,
        reason=told.reason,
        errors=_errors(operations),
        breakers={path.stem: breaker_of(operations, path.stem).described() for path in sorted((operations.var / "risk" / "breakers").glob("*.json"))},
        journals=tuple(journaled(path) for path in journals_of(operations)),
        open_orders=None if account is None else _open_orders(account[1]),
        foreign=unacknowledged(operations),
    )


def positions(operations: OperationsSettings) -> tuple[Position, ...]:
    """What every journal's fold holds; beside a live one's, what the venue holds, if it is the venue that runs."""
    account = venue_of(operations)
    listed = ExchangeSource(account[1]).instruments() if account else {}
    found: list[Position] = []
    for path in journals_of(operations):
        theirs = balances_of(account[1]) if account is not None and path.stem == account[0] else {}
        with reading(path) as chain:
            recovered = recovered_from(chain, listed)
        found += [] if recovered is None else _positions(path.stem, recovered, theirs)
    return tuple(found)


def journals_of(operations: OperationsSettings) -> list[Path]:
    """Every session's journal."""
    return sorted((operations.var / "journal").glob("*.sqlite"))


def lease_of(operations: OperationsSettings) -> Lease:
    """Who holds the lease, and since when nobody heard of them."""
    seen = lease_seen(operations.var / "run" / "armed")
    if seen is None or seen.silent_s is None:
        return Lease(state="free", token=seen.token if seen else 0)
    holder = trader_of(operations)
    alive = holder is not None and holder.alive()
    state = "dead" if not alive else "silent" if seen.silent_s >= SILENCE_S else "held"
    return Lease(state=state, silent_s=round(seen.silent_s, 1), token=seen.token, holder=holder)


def trader_of(operations: OperationsSettings) -> Trader | None:
    """The process that last took the lease; a record that cannot be read is none."""
    try:
        return Trader.model_validate_json(_trader_path(operations).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def trader_recorded(operations: OperationsSettings, session_id: str) -> Iterator[None]:
    """This process trades: write down who it is, for those who ask or want it to end."""
    trader = Trader(**this_process().model_dump(), session_id=session_id, since=WallClock().now())
    _trader_path(operations).write_text(trader.model_dump_json(), encoding="utf-8")
    yield


def venue_of(operations: OperationsSettings) -> tuple[str, Any] | None:
    """The exchange that answers now, and the live session whose account it has; None when none does. Starts nothing."""
    greeting = listening_exchange(operations)
    if greeting is None:
        return None
    exchange = open_exchange(constructor_config(greeting.rest, greeting.ws, greeting.api_key, greeting.secret))
    try:
        with asking("its markets"):
            exchange.load_markets()
    except Transient:
        return None
    return live_session(greeting), exchange


def live_session(greeting: Greeting) -> str:
    """The live session of the market that an exchange plays."""
    facts = greeting.market
    return f"{LIVE}{'synthetic' if facts['synthetic'] else 'recorded'}_{facts['hash'][:10]}"


def recovered_from(chain: Chain, listed: Mapping[str, Instrument]) -> Recovered | None:
    """Fold a journal on the grid of an exchange, or, where that does not list all its symbols, on the grid recorded beside it. None: never opened."""
    symbols = opened_symbols(chain)
    if not symbols:
        return None
    grid = {symbol: listed[symbol] for symbol in symbols} if set(symbols) <= set(listed) else _recorded_grid(Path(chain.path))
    return Journal(chain, "").recover(grid)


def opened_symbols(chain: Chain) -> tuple[str, ...]:
    """The symbols a journal was opened on; none when it never was."""
    opened = next(chain.entries(kind=OPENED), None)
    return () if opened is None else tuple(opened.payload["positions"])


def _recorded_grid(journal: Path) -> dict[str, Instrument]:
    # A heavy import, and only without an exchange.
    from desk.market.recording import SETUP, inputs_of
    from desk.replay import instruments_of

    with Chain.reading(inputs_of(journal)) as inputs:
        return instruments_of(next(inputs.entries(kind=SETUP)).payload)


def journaled(path: Path) -> Journaled:
    """A journal's newest step, read from its end; nothing is verified."""
    try:
        with reading(path) as chain:
            count = chain.head.count
            steps = [link for after in (max(count - RECENT, 0), 0) for link in chain.entries(after, STEP)][-1:]
    except JournalBroken as error:
        return Journaled(session_id=path.stem, entries=0, broken=str(error))
    if not steps:
        return Journaled(session_id=path.stem, entries=count)
    step = step_of(steps[0].at, current(STEP, steps[0].payload, str(path)))
    shut = {"drawdown": step.marks.reducing, "daily_loss": step.marks.day_reducing, step.marks.latched.value: step.marks.latched is not TradingState.ACTIVE}
    latched = ", ".join(word for word, holds in shut.items() if holds)
    return Journaled(session_id=path.stem, entries=count, last_step=step.closed_at, equity=step.equity, latched=latched)


@contextmanager
def reading(path: Path) -> Iterator[Chain]:
    """A journal to read beside its writer. Whatever damage does to a reader is JournalBroken."""
    try:
        with Chain.reading(path) as chain:
            yield chain
    except (sqlite3.Error, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise JournalBroken(f"expected a journal in {path}, found {error}: see 'A journal is broken' in docs/runbook.md") from error


def _positions(session_id: str, recovered: Recovered, theirs: Mapping[str, Decimal]) -> list[Position]:
    portfolio, closes = recovered.portfolio, recovered.last.closes if recovered.last else {}
    names = {symbol: symbol.partition("/")[0] for symbol in portfolio.positions}
    rows = []
    for symbol, quantity in portfolio.positions.items():
        close, base = closes.get(symbol), names[symbol]
        value = None if close is None else float(quantity) * close
        entry = portfolio.entries.get(symbol)
        rows.append(Position(session_id=session_id, asset=symbol, quantity=quantity, entry=entry, close=close, value=value, venue=theirs.get(base)))
    quotes = [asset for asset in portfolio.balances() if asset not in names.values()]
    cash = [Position(session_id=session_id, asset=quote, quantity=portfolio.cash, venue=theirs.get(quote)) for quote in quotes]
    return cash + rows


def balances_of(exchange: Any) -> dict[str, Decimal]:
    """What an account holds, by asset."""
    with asking("our balances"):
        totals = exchange.fetch_balance()["total"]
    return {asset: Decimal(str(amount)) for asset, amount in totals.items()}


def _open_orders(exchange: Any) -> dict[str, str]:
    exchange.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    with asking("every open order of the account"):
        orders = exchange.fetch_open_orders()
    return {str(order["id"]): f"{order['symbol']} {order['side']} {order['amount']} {order['type']}, {order['clientOrderId']}" for order in orders}


def _errors(operations: OperationsSettings) -> dict[str, int]:
    counts = {}
    for path in sorted((operations.var / "risk").glob("errors-*.json")):
        try:
            counts[path.stem.removeprefix("errors-")] = int(json.loads(path.read_text(encoding="utf-8"))["errors"])
        except (ValueError, TypeError, KeyError):
            counts[path.stem.removeprefix("errors-")] = -1
    return counts


def _trader_path(operations: OperationsSettings) -> Path:
    return operations.var / "run" / "trader.json"
