"""Foreign orders and trades on the account: named, told, and answered by a halt until a person acknowledges them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.operations import OperationsSettings
from configs.vocabulary import TradingState
from desk import log
from desk.books.journal import Journal, Recovered
from desk.chain import Chain
from desk.clock import WallClock
from desk.disk import write_whole
from desk.errors import ContractBroken, ForeignActivity
from desk.execution.exchange_venue import market_now
from desk.execution.foreign import Look, Sentry, Stranger
from desk.instruments import Instrument
from tasks.oversight import resume, switch_of

FOREIGN = "foreign activity"
# In the reason of a halt; the log and `tradewind status` have all of them.
NAMED = 3


def sentry_of(operations: OperationsSettings, session_id: str, exchange: Any, instruments: Mapping[str, Instrument]) -> Sentry:
    """The sentry of one session's account."""
    return Sentry(exchange, instruments, _folder(operations) / f"account-{session_id}.json")


def unacknowledged(operations: OperationsSettings) -> dict[str, str]:
    """What was found and is not acknowledged yet: words by key."""
    known = _read(_acknowledged(operations))
    return {key: words for key, words in _read(_found(operations)).items() if key not in known}


def alarm(operations: OperationsSettings, session_id: str, strangers: Sequence[Stranger]) -> tuple[Stranger, ...]:
    """Keep, tell, and stop all sending, unless a person acknowledged it before. The strangers that nobody acknowledged."""
    known = _read(_acknowledged(operations))
    fresh = tuple(each for each in strangers if each.key not in known)
    if not fresh:
        return ()
    _write(_found(operations), _read(_found(operations)) | {each.key: str(each) for each in fresh})
    log.event("security.foreign_activity", level="CRITICAL", session=session_id, found=[str(each) for each in fresh])
    switch = switch_of(operations)
    if switch.read().state is not TradingState.HALTED:
        more = f" and {len(fresh) - NAMED} more" if len(fresh) > NAMED else ""
        switch.turn(TradingState.HALTED, f"{FOREIGN}: {'; '.join(map(str, fresh[:NAMED]))}{more}", WallClock().now())
        # A console that only reads must not wait for Prefect to be imported.
        from tasks.hooks import announce_foreign_activity

        announce_foreign_activity(session_id, switch.read().reason)
    return fresh


def acknowledge(operations: OperationsSettings, reason: str) -> dict[str, str]:
    """Take note of everything found so far: it stops nobody any more, and the next start books foreign trades. What was taken note of."""
    if not reason.strip():
        raise ContractBroken("expected a reason to acknowledge, found none: tradewind acknowledge --reason '...'")
    found = unacknowledged(operations)
    if found:
        _write(_acknowledged(operations), _read(_acknowledged(operations)) | dict.fromkeys(found, reason))
    told = switch_of(operations).read()
    if told.state is TradingState.HALTED and told.reason.startswith(FOREIGN):
        resume(operations, f"{FOREIGN} acknowledged: {reason}")
    log.event("security.acknowledged", level="WARNING", found=list(found.values()), reason=reason)
    return found


def watched_account(operations: OperationsSettings, session_id: str, exchange: Any, eye: tuple[Sentry, Chain, Journal]) -> Callable[[], Look]:
    """A look for a live window: foreign orders halt it, and so do foreign trades, which end it besides: its book is the account's no more."""
    sentry, chain, journal = eye

    def look() -> Look:
        found = sentry.look(chain)
        fresh = alarm(operations, session_id, found.strangers)
        trades = [each for each in fresh if each.trade_id]
        if trades:
            journal.record_control(market_now(exchange), switch_of(operations).read(), sending=False)
            named = "; ".join(map(str, trades))
            raise ForeignActivity(f"expected nobody else to trade on our account, found {named}: find out who, then tradewind acknowledge --reason ...")
        return found

    return look


def adopt(found: Look, journal: Journal, before: Recovered | None) -> None:
    """Book foreign trades that a person acknowledged, so that the book is the account's again."""
    if before is not None and found.foreign_fills:
        log.event("books.adopted", level="WARNING", trades=sorted(found.foreign_fills))
        journal.record_settled(before.at, tuple(found.foreign_fills.values()))


def _folder(operations: OperationsSettings) -> Path:
    return operations.var / "risk"


def _found(operations: OperationsSettings) -> Path:
    return _folder(operations) / "foreign.json"


def _acknowledged(operations: OperationsSettings) -> Path:
    return _folder(operations) / "acknowledged.json"


def _read(path: Path) -> dict[str, str]:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        # What cannot be read acknowledges nothing and hides nothing: it is found again.
        return {}
    return {str(key): str(words) for key, words in row.items()}


def _write(path: Path, rows: Mapping[str, str]) -> None:
    write_whole(path, json.dumps(dict(rows)))
