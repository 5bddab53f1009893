"""The only place where backtest, paper and live differ: which feed meets which venue, and what must be proven first.

|                | simulated venue | exchange venue    |
| stored feed    | backtest        | cannot be built   |
| streamed feed  | paper           | live              |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Mode
from desk import log
from desk.books.journal import Between, Journal, Recovered, Step, stopped_out
from desk.books.portfolio import Portfolio
from desk.books.reconcile import Audit, Besides, ReconciledBook, agree, nothing_besides, reconcile, unaudited, with_flows
from desk.chain import MEMORY, Chain
from desk.clock import WallClock
from desk.errors import PreflightFailed, Transient
from desk.events import Approved
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.manager import OrderManager
from desk.execution.readiness import PreflightPassed, TradingScope
from desk.execution.simulated_venue import Margin, SimulatedVenue
from desk.execution.venue import Venue
from desk.features.incremental import Stream
from desk.features.recipe import Recipe
from desk.instruments import Instrument
from desk.market.feed import Feed
from desk.market.recording import recorded
from desk.market.stored_feed import StoredFeed
from desk.market.streamed_feed import StreamedFeed
from desk.risk.switch import Watch, unwatched
from desk.security.arming import ArmedLease
from desk.session import Parts, Session, SessionResult, warmup_bars
from desk.strategy.forecast import Forecaster
from desk.strategy.policy import Strategy

OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is the same in every mode. A rule needs a policy; a model also a recipe and a forecaster.

    The session's id names its orders: the same id on the same journal is the same session, whenever it is started. `funding` are known rates of
    contracts, by symbol and end of bar, for a simulated venue; where none are known it charges the settings' one.
    """

    session_id: str
    settings_hash: str
    instruments: Mapping[str, Instrument]
    policy: Strategy
    trading: TradingSettings
    risk: RiskSettings
    recipe: Recipe | None = None
    forecaster: Forecaster | None = None
    funding: Mapping[tuple[str, datetime], float] = field(default_factory=dict)

    @property
    def feature_warmup(self) -> int:
        """Bars before the first finite row of features."""
        return self.recipe.warmup_bars if self.recipe else 0

    @property
    def warmup_bars(self) -> int:
        """Events that a session sees before its first one for trading, where there are so many."""
        return warmup_bars(self.policy, self.feature_warmup, self.forecaster, self.risk)


@dataclass(frozen=True, slots=True)
class Clearance:
    """The four proofs that live trading asks for; none can be written down, each is made by a check."""

    preflight: PreflightPassed
    book: ReconciledBook
    lease: ArmedLease
    scope: TradingScope


def backtest(feed: StoredFeed, setup: Setup, chain: Chain | None = None, on_step: OnStep | None = None) -> SessionResult:
    """Replay stored bars against the simulated venue. Without a chain the journal is kept in memory."""
    return _simulate(feed, setup, chain or Chain(MEMORY, sync=False), on_step)


def paper(feed: StreamedFeed, setup: Setup, chain: Chain, on_step: OnStep | None = None, *, watch: Watch = unwatched) -> SessionResult:
    """Trade streamed bars against the simulated venue, continuing where the journal ends."""
    return _simulate(feed, setup, chain, on_step, watch=watch)


def live(
    feed: StreamedFeed,
    setup: Setup,
    venue: ExchangeVenue,
    clearance: Clearance,
    chain: Chain,
    *,
    on_step: OnStep | None = None,
    watch: Watch = unwatched,
    look: Callable[[], object] = lambda: None,
) -> SessionResult:
    """Trade streamed bars on an exchange, cleared by four proofs, continuing where the journal ends.

    `look` is called whenever book and account are to be compared, before they are.
    """
    if not isinstance(feed, StreamedFeed):
        raise PreflightFailed(f"expected a streamed feed, found {type(feed).__name__}: history must never reach a real venue")
    simulated = [name for name in ("take_profit", "carry_partials") if getattr(setup.trading, name)]
    if simulated:
        raise PreflightFailed(f"expected trading.{simulated[0]} off in live, found it on: only the simulated venue carries it out")
    if set(clearance.preflight.symbols) != set(setup.instruments):
        raise PreflightFailed(f"expected a preflight of {sorted(setup.instruments)}, found one of {clearance.preflight.symbols}: run it again")
    clearance.lease.check(WallClock().now())
    rejoined = _Rejoined(venue, look, clearance.book.recovered, setup.trading.execution.flows_every_s)
    feed.on_reconnect = rejoined.again
    with recorded(feed, chain.path, described(setup, Mode.LIVE), clearance.book.recovered.at, fresh=clearance.book.recovered.last is None) as told:
        journal = Journal(chain, setup.settings_hash, setup.trading.journal)
        state = (journal, journal.follow(clearance.book.recovered))
        return run_session(told, setup, venue, state, on_step, watch=watch, audit=rejoined, besides=rejoined.besides)


class _Rejoined:
    """After every reconnection of the stream, at the next close and before anything is decided on it: does the account still equal our book?"""

    def __init__(self, venue: ExchangeVenue, look: Callable[[], object], book: Recovered, flows_every_s: float) -> None:
        self._venue = venue
        self._look = look
        self._opened_at = book.opened_at or book.at
        self._flows_every_s = flows_every_s
        self._clock = WallClock()
        self._asked_s = self._clock.seconds()
        self._due = False

    def again(self) -> None:
        """The stream was lost and joined again: who knows what was missed."""
        self._due = True

    def __call__(self, portfolio: Portfolio, resting: Collection[str]) -> None:
        if self._due:
            self._look()
            account = self._venue.account()
            agree(portfolio, account.balances, [order_id for order_id in account.open_orders if order_id not in resting])
            self._due = False

    def besides(self, portfolio: Portfolio, at: datetime, leisure: bool) -> Between:
        """Money that came or went: asked once in a while at leisure, and always before the account is compared."""
        if not self._due and not (leisure and self._clock.seconds() - self._asked_s >= self._flows_every_s):
            return Between()
        self._asked_s = self._clock.seconds()
        try:
            return Between(portfolio.news(self._venue.flows(at), self._opened_at))
        except Transient as error:
            if self._due:
                raise
            log.event("flows.unknown", level="WARNING", why=str(error))
            return Between()


def open_book(setup: Setup, venue: ExchangeVenue, chain: Chain, opened_at: datetime) -> ReconciledBook:
    """Fold the journal, settle what was under way when it ended, and compare with the account. A new journal opens with the account as it is."""
    journal = Journal(chain, setup.settings_hash, setup.trading.journal)
    recovered = journal.recover(setup.instruments)
    if recovered is None:
        known = [flow for flow in venue.flows(opened_at) if flow.at >= opened_at]
        portfolio = Portfolio.of_balances(setup.instruments, setup.trading.quote, venue.account().balances)
        recovered = journal.record_opening(opened_at, portfolio, known)
    stops, cancels = (recovered.last.stops, recovered.last.cancels) if recovered.last else ((), ())
    if recovered.pending or stops or cancels:
        manager = OrderManager(venue, journal)
        manager.cancel(cancels, recovered.at)
        expected = {each.order.order_id: each for each in (*recovered.pending, *map(Approved, stops))}
        missing = manager.missing(tuple(expected.values()))
        fills = [fill for fill in venue.executions() if recovered.portfolio.apply(fill)]
        journal.record_settled(recovered.at, fills)
        # What was sized for a position that its stop has closed must not be sent any more.
        stopped = {fill.symbol for fill in fills if fill.order_id in {order.order_id for order in (*stops, *cancels)}}
        manager.drop([each for each in missing if each.order.symbol in stopped], recovered.at, "its stop was executed first")
        pending = tuple(each for each in missing if each.order.symbol not in stopped)
        recovered = replace(recovered, last=stopped_out(recovered.last, fills), pending=pending)
    flows = recovered.portfolio.news(venue.flows(opened_at), recovered.opened_at or recovered.at)
    journal.record_flows(recovered.at, flows)
    recovered = with_flows(recovered, flows)
    account, resting = venue.account(), {order.order_id for order in stops}
    return reconcile(recovered, account.balances, [order_id for order_id in account.open_orders if order_id not in resting])


def _simulate(feed: StoredFeed | StreamedFeed, setup: Setup, chain: Chain, on_step: OnStep | None, *, watch: Watch = unwatched) -> SessionResult:
    journal = Journal(chain, setup.settings_hash, setup.trading.journal)
    recovered = journal.recover(setup.instruments)
    if recovered is None:
        recovered = journal.record_opening(feed.opened_at, Portfolio(setup.instruments, setup.trading.initial_cash))
    margin = Margin(setup.trading.perpetual, recovered.last.closes if recovered.last else {}, setup.funding)
    venue = SimulatedVenue(setup.instruments, setup.trading.costs, recovered.portfolio.balances(), margin)
    mode = Mode.PAPER if isinstance(feed, StreamedFeed) else Mode.BACKTEST
    with recorded(feed, chain.path, described(setup, mode), recovered.at, fresh=recovered.last is None) as told:
        return run_session(told, setup, venue, (journal, recovered), on_step, watch=watch)


def described(setup: Setup, mode: Mode) -> dict[str, Any]:
    """What a session is made of, in JSON's values, so that it can be made again: the policy by its import path, the model by its name in the journal."""
    return {
        "mode": mode.value,
        "session": setup.session_id,
        "settings": setup.settings_hash,
        "instruments": {symbol: {name: str(value) for name, value in asdict(each).items()} for symbol, each in setup.instruments.items()},
        "policy": f"{type(setup.policy).__module__}:{type(setup.policy).__qualname__}",
        "trading": setup.trading.model_dump(mode="json"),
        "risk": setup.risk.model_dump(mode="json"),
        "recipe": setup.recipe.name if setup.recipe else None,
        "features": setup.recipe.hash if setup.recipe else None,
        "funding": [[symbol, end.isoformat(), rate] for (symbol, end), rate in setup.funding.items()],
    }


def run_session(
    feed: Feed,
    setup: Setup,
    venue: Venue,
    state: tuple[Journal, Recovered],
    on_step: OnStep | None,
    *,
    watch: Watch = unwatched,
    audit: Audit = unaudited,
    besides: Besides = nothing_besides,
) -> SessionResult:
    """A session out of its parts, from where the journal stands to the end of the feed."""
    journal, recovered = state
    streams = {symbol: Stream(setup.recipe) for symbol in setup.instruments} if setup.recipe else {}
    parts = Parts(
        session_id=setup.session_id,
        instruments=setup.instruments,
        policy=setup.policy,
        venue=venue,
        journal=journal,
        book=recovered,
        trading=setup.trading,
        risk=setup.risk,
        streams=streams,
        forecaster=setup.forecaster,
        feature_warmup=setup.feature_warmup,
        watch=watch,
        audit=audit,
        besides=besides,
    )
    return Session(parts).run(feed, on_step)
