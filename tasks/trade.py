"""One bounded paper window on the streamed market: resume from the journal, trade, stop."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from prefect import task

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.books.journal import Journal, Step
from desk.errors import SourceStale
from desk.execution.exchange_venue import market_now
from desk.log import event
from desk.market.exchange_source import open_exchange, open_streams
from desk.market.streamed_feed import Window as Bounds
from desk.modes import Setup, paper
from desk.session import SessionResult
from tasks.assembly import setup_of, stitched
from tasks.ending import EndableFeed, ending_cleanly
from tasks.market import connection, running_exchange, source_of
from tasks.oversight import overseen
from tasks.stalls import WatchedChain, halted_by_stalls
from tasks.values import Market, Research, Rules, Window

# Bars between two progress lines of a window.
TELL_EVERY = 24
ADMIN_TIMEOUT_S = 30.0


@task(name="trade_paper")
def trade_paper(market: Market, research: Research, rules: Rules, operations: OperationsSettings) -> Window:
    """Trade `paper_bars` bars with the newest fold's model; never retried here: the next run resumes."""
    forecaster = stitched(research.folds[-1:], "network", Timeframe(market.timeframe))
    return paper_window(market, setup_of(market, research, rules, session_id=f"paper-{market.name}", forecaster=forecaster), rules, operations)


def paper_window(market: Market, setup: Setup, rules: Rules, operations: OperationsSettings) -> Window:
    """Go on from where the journal ends and trade on paper; SIGTERM ends it cleanly."""
    path = operations.var / "journal" / f"{setup.session_id}.sqlite"
    feed, tell = streamed(market, rules, operations), told_every(TELL_EVERY)

    def now() -> datetime:
        return market_now(open_exchange(connection(running_exchange(operations))))

    with (
        ending_cleanly(setup.session_id) as ending,
        overseen(operations, setup.session_id, rules.risk.max_data_age_s, now) as oversight,
        WatchedChain(path, sync=True) as chain,
        halted_by_stalls(operations, setup.session_id, chain, setup.trading.journal.stall_s),
    ):
        feed.ending = ending
        before = Journal(chain, setup.settings_hash).recover(setup.instruments)

        def on_step(step: Step) -> None:
            oversight.saw(step)
            tell(step)

        result = paper(feed, setup, chain, on_step, watch=oversight.watch)
    return summary(setup.session_id, path, result, None if before is None else before.last, asked=ending.asked)


def streamed(market: Market, rules: Rules, operations: OperationsSettings) -> EndableFeed:
    """The market's stream, asked for one more bar at a time when the exchange waits for us."""
    greeting = running_exchange(operations)
    bounds = Bounds(max_events=rules.trading.paper_bars, ends_at=market.ends_at, advance=advance_of(greeting.admin))
    config, dialect = connection(greeting, market.dialect), market.dialect
    return EndableFeed(source_of(operations, dialect), lambda: open_streams(config, dialect.client), market.symbols, Timeframe(market.timeframe), bounds)


def advance_of(admin: str) -> Callable[[], None]:
    """Ask the practice exchange, on its admin port, for one more bar."""

    def advance() -> None:
        request = urllib.request.Request(f"{admin}/advance", data=json.dumps({"bars": 1}).encode(), headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=ADMIN_TIMEOUT_S) as answer:
                answer.read()
        except OSError as error:
            raise SourceStale(f"expected the practice exchange at {admin} to move on, found {error}; run again, it is restarted") from error

    return advance


def told_every(bars: int) -> Callable[[Step], None]:
    """A line every so many bars, so that a person sees the window move."""
    seen = fills = 0

    def tell(step: Step) -> None:
        nonlocal seen, fills
        seen, fills = seen + 1, fills + len(step.fills)
        if seen % bars == 0:
            event("paper.traded", bars=seen, market_time=step.closed_at.isoformat(), equity=round(step.equity, 2), fills=fills)

    return tell


def summary(session_id: str, journal: Path, result: SessionResult, before: Step | None, *, asked: bool) -> Window:
    """What the window did; `asked`: somebody asked for its end."""
    resumed: datetime | None = before.closed_at if before else None
    full = "the window is full" if result.bars else "the market has no more bars"
    first = before.equity if before else (result.equity[0][1] if result.equity else float("nan"))
    return Window(
        session_id=session_id,
        bars=result.bars,
        fills=len(result.fills),
        refusals=len(result.refusals),
        resumed_from=resumed,
        ended_at=result.equity[-1][0] if result.equity else resumed,
        equity=result.equity[-1][1] if result.equity else first,
        started_equity=first,
        fees=result.fees,
        ended_because="the end was asked for" if asked else full,
        journal=journal,
    )
