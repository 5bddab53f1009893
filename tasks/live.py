"""One bounded window of orders on the practice exchange: armed by a person, cleared by four proofs, resumed from the journal."""

from __future__ import annotations

from datetime import timedelta

from prefect import task

from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.books.journal import Journal
from desk.clock import WallClock
from desk.errors import GateClosed
from desk.execution.exchange_venue import ExchangeVenue, market_now
from desk.execution.guarded import GuardedExchange
from desk.execution.readiness import compare_fees, preflight, trading_scope
from desk.execution.streamed_orders import order_wire
from desk.market.exchange_source import open_exchange, open_streams
from desk.modes import Clearance, Setup, live, open_book
from desk.security.arming import ArmedLease
from tasks.assembly import setup_of, stitched
from tasks.ending import ending_cleanly
from tasks.market import connection, running_exchange
from tasks.oversight import breaker_of, overseen
from tasks.sentry import adopt, sentry_of, watched_account
from tasks.stalls import WatchedChain, halted_by_stalls
from tasks.standing import trader_recorded
from tasks.trade import streamed, summary
from tasks.values import Market, Research, Rules, Window


@task(name="trade_live")
def trade_live(market: Market, research: Research, rules: Rules, operations: OperationsSettings, armed_minutes: float) -> Window:
    """Trade `paper_bars` bars with the newest fold's model and orders of its own; never retried here: the next run resumes."""
    forecaster = stitched(research.folds[-1:], "network", Timeframe(market.timeframe))
    return live_window(market, setup_of(market, research, rules, session_id=f"live-{market.name}", forecaster=forecaster), rules, operations, armed_minutes)


def refuse_unarmed(armed_minutes: float) -> None:
    """GateClosed unless a person said for how many minutes orders may leave the house."""
    if not armed_minutes > 0:
        raise GateClosed(f"expected a person to arm live trading, found armed_minutes {armed_minutes}; start trade/live with the minutes in which it may order")


def live_window(market: Market, setup: Setup, rules: Rules, operations: OperationsSettings, armed_minutes: float) -> Window:
    """Arm, prove that account, key and book are as they must be, then trade. After the armed minutes every order is refused; SIGTERM ends it cleanly."""
    refuse_unarmed(armed_minutes)
    path = operations.var / "journal" / f"{setup.session_id}.sqlite"
    config, feed = connection(running_exchange(operations)), streamed(market, rules, operations)
    exchange, clock, orders = open_exchange(config), WallClock(), rules.trading.execution
    with (
        ending_cleanly(setup.session_id) as ending,
        ArmedLease(operations.var / "run" / "armed", clock.now() + timedelta(minutes=armed_minutes)) as lease,
        trader_recorded(operations, setup.session_id),
        WatchedChain(path, sync=True, takeover=lease.took_over) as chain,
        overseen(operations, setup.session_id, rules.risk.max_data_age_s, lambda: market_now(exchange)) as oversight,
        halted_by_stalls(operations, setup.session_id, chain, setup.trading.journal.stall_s),
        order_wire(exchange, lambda: open_streams(config), orders.submission) as (wire, wait),
    ):
        feed.ending = ending
        passed, scope = preflight(exchange, setup.instruments), trading_scope(exchange)
        compare_fees(exchange, setup.instruments, setup.trading.costs)
        journal = Journal(chain, setup.settings_hash, setup.trading.journal)
        before = journal.recover(setup.instruments)
        look = watched_account(operations, setup.session_id, exchange, (sentry_of(operations, setup.session_id, exchange, setup.instruments), chain, journal))
        adopt(look(), journal, before)
        bar = Timeframe(market.timeframe).delta
        submissions, questions = breaker_of(operations, "venue_orders"), breaker_of(operations, "venue_reads")
        guarded, gates = GuardedExchange(wire, questions, submissions), (oversight.refusal, submissions.refusal)
        venue = ExchangeVenue(guarded, setup.instruments, clock=clock, lease=lease, bar=bar, rules=orders, wait=wait, gates=gates)
        book = open_book(setup, venue, chain, feed.opened_at)
        result = live(feed, setup, venue, Clearance(passed, book, lease, scope), chain, on_step=oversight.saw, watch=oversight.watch, look=look)
        # Nobody looks at the market until the next window: entries go, what protects stays.
        venue.cancel_open(market_now(exchange), keep=_stops(journal, setup))
    return summary(setup.session_id, path, result, None if before is None else before.last, asked=ending.asked)


def _stops(journal: Journal, setup: Setup) -> frozenset[str]:
    """The stops that rest, by what the journal says now."""
    recovered = journal.recover(setup.instruments)
    return frozenset(order.order_id for order in recovered.last.stops) if recovered and recovered.last else frozenset()
