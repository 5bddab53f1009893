"""A desk that trades live on a practice exchange with faults, and the exchange's own ledger to compare it with.

One exchange process serves a whole module, so that a row costs a second and not five; each test is a session of its own, named after the test. The
client's patience is short (a second), and so is the window in which a late request could still arrive: proving that an order never came is quick.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import ccxt
import ccxt.pro
import pytest

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Submission, Timeframe
from desk.books.journal import Journal, Step
from desk.chain import Chain
from desk.clock import WallClock
from desk.errors import DeskError
from desk.execution.ccxt_settings import constructor_config
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.readiness import preflight, trading_scope
from desk.execution.streamed_orders import order_wire
from desk.instruments import quantity_of
from desk.market.exchange_source import ExchangeSource
from desk.market.streamed_feed import StreamedFeed, Window
from desk.modes import Clearance, Setup, live, open_book
from desk.security.arming import ArmedLease
from desk.session import SessionResult
from desk.strategy.policy import Policy, View
from tests.faults.catalogue import ROWS, Row
from tests.faults.stage import SYMBOL, Stage, tape

RECEIVE_WINDOW_MS = 300
CLIENT_TIMEOUT_MS = 1000
DUST = Decimal("1e-8")


class Restless:
    """In and out: an order at every close."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        return 0.0 if view.previous > 0 else 1.0


@dataclass
class Exchange:
    """A practice exchange process: its admin door, and clients of it."""

    greeting: dict[str, Any]
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.config = constructor_config(*(self.greeting[name] for name in ("rest", "ws", "api_key", "secret")))
        self.client = self.cold_client()
        self.client.load_markets()
        self.instruments = {SYMBOL: ExchangeSource(self.client).instruments()[SYMBOL]}

    def cold_client(self) -> Any:
        """A synchronous ccxt client, as impatient as a test must be."""
        client = ccxt.binance({**self.config, "timeout": CLIENT_TIMEOUT_MS})
        client.options["recvWindow"] = RECEIVE_WINDOW_MS
        return client

    def fresh_client(self) -> Any:
        """The same, knowing the markets already."""
        client = self.cold_client()
        client.set_markets(self.client.markets, self.client.currencies)
        return client

    def streams(self) -> Any:
        """A ccxt.pro client."""
        return ccxt.pro.binance(self.config)

    def admin(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Ask at the door that no trader sees."""
        data = None if body is None else json.dumps(body).encode()
        question = urllib.request.Request(f"{self.greeting['admin']}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(question, timeout=10) as answer:
            return json.load(answer)

    def plan(self, *faults: dict[str, Any]) -> None:
        """Let faults wait for their occasions."""
        for fault in faults:
            self.admin("/faults", fault)

    def struck(self) -> int:
        """How often the planned faults struck."""
        return sum(each["struck"] for each in self.admin("/faults"))

    def clear(self) -> None:
        """Forget every fault."""
        self.admin("/faults", method="DELETE")

    def advance(self) -> None:
        """Close one more bar."""
        self.admin("/advance", {"bars": 1})

    def holds(self) -> Decimal:
        """How much of the symbol the account holds, orders included."""
        return Decimal(str(self.client.fetch_balance()["total"].get(self.instruments[SYMBOL].base, 0)))

    def sell_out(self) -> None:
        """An account without a position and without open orders."""
        instrument = self.instruments[SYMBOL]
        if self.client.fetch_open_orders(SYMBOL):
            self.client.cancel_all_orders(SYMBOL)
        lots = int(Decimal(str(self.client.fetch_balance()["free"].get(instrument.base, 0))) / instrument.lot)
        if lots:
            self.client.create_order(SYMBOL, "market", "sell", str(quantity_of(lots, instrument)))

    def orders(self) -> list[dict[str, Any]]:
        """Every order ever accepted, with its fills."""
        return list(self.admin("/orders"))


@dataclass
class Desk:
    """One live session: trade it, end it, start it again, compare it with the exchange."""

    venue_kind: ClassVar[type[ExchangeVenue]] = ExchangeVenue

    exchange: Exchange
    folder: Path
    name: str
    policy: Policy = field(default_factory=Restless)
    trading: TradingSettings = field(default_factory=TradingSettings)
    risk: RiskSettings = field(default_factory=lambda: RiskSettings(max_position_weight=1.0, max_drawdown=1.0, max_daily_loss=1.0))

    def __post_init__(self) -> None:
        self.seen = len(self.exchange.orders())
        self.ends: list[DeskError] = []
        self.submission, self.cold, self.patience_s = Submission.REST, False, 4.0
        self.midway: tuple[dict[str, Any], ...] = ()
        self.midway_bar = 2
        self.advanced = 0

    @property
    def journal(self) -> Path:
        """Where everything is written down first."""
        return self.folder / "live.sqlite"

    def setup(self) -> Setup:
        """What the session is made of."""
        return Setup(self.name, "faults", self.exchange.instruments, self.policy, self.trading, self.risk)

    def trade(self, bars: int, client: Any = None) -> SessionResult:
        """One life: start, which is to recover, then trade a window of `bars`."""
        client = client or (self.exchange.cold_client() if self.cold else self.exchange.fresh_client())
        with ExitStack() as open_things:
            chain = open_things.enter_context(self.chain())
            lease = open_things.enter_context(ArmedLease(self.folder / "lease", WallClock().now() + timedelta(minutes=5)))
            wire, wait = open_things.enter_context(order_wire(client, self.exchange.streams, self.submission))
            venue = self.venue(wire, lease, wait)
            return self.live(bars, client, chain, (venue, lease))

    def chain(self) -> Chain:
        """The journal, to be written."""
        return Chain(self.journal, sync=True)

    def refusals(self) -> list[str]:
        """Why orders that were sent are not at the exchange, as the journal has it."""
        with Chain.reading(self.journal) as chain:
            return [detail for link in chain.entries(kind="answers") for _, outcome, detail in link.payload["answers"] if outcome == "rejected"]

    def survive(self, bars: int, lives: int = 4) -> int:
        """Trade until the journal has `bars` more steps, starting again after every error that the desk names. How many lives it took."""
        wanted = self.steps() + bars
        for life in range(1, lives + 1):
            try:
                self.trade(wanted - self.steps())
            except DeskError as error:
                self.ends.append(error)
            if self.steps() == wanted:
                return life
        pytest.fail(f"{self.steps()} steps instead of {wanted} after {lives} lives; the last ended with {self.ends[-1]}")

    def journalled(self) -> tuple[Step, ...]:
        """Every step the journal holds."""
        if not self.journal.exists():
            return ()
        with Chain.reading(self.journal) as chain:
            return tuple(Journal(chain, "").steps())

    def steps(self) -> int:
        """How many closes the journal holds."""
        return len(self.journalled())

    def live(self, bars: int, client: Any, chain: Chain, cleared: tuple[ExchangeVenue, ArmedLease]) -> SessionResult:
        """The same with parts handed in."""
        setup, feed = self.setup(), self.feed(bars, client)
        passed, scope = preflight(client, setup.instruments), trading_scope(client)
        venue, lease = cleared
        book = open_book(setup, venue, chain, feed.opened_at)
        return live(feed, setup, venue, Clearance(passed, book, lease, scope), chain)

    def venue(self, wire: Any, lease: ArmedLease, wait: Callable[[float], None] | None = None) -> ExchangeVenue:
        """Our side of the exchange."""
        rules = self.trading.execution
        return self.venue_kind(wire, self.exchange.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta, rules=rules, wait=wait)

    def advance(self) -> None:
        """Close one more bar; before the second one of a session, or another, what was planned for its middle strikes."""
        self.advanced += 1
        if self.advanced == self.midway_bar:
            self.exchange.plan(*self.midway)
        self.exchange.advance()

    def feed(self, bars: int, client: Any) -> StreamedFeed:
        """The market's stream, one bar after the other."""
        window = Window(bars, advance=self.advance, watchdog_s=self.patience_s)
        return StreamedFeed(ExchangeSource(client), self.exchange.streams, (SYMBOL,), Timeframe.H1, window)

    def accepted(self) -> list[dict[str, Any]]:
        """Orders of this session that the exchange ever accepted."""
        return self.exchange.orders()[self.seen :]

    def settle(self) -> None:
        """Start once more on an exchange without faults, which is to recover, and trade nothing: the last orders are booked."""
        self.exchange.clear()
        client = self.exchange.fresh_client()
        with Chain(self.journal, sync=True) as chain, ArmedLease(self.folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
            open_book(self.setup(), self.venue(client, lease), chain, self.feed(1, client).opened_at)

    def agrees(self, strangers: Sequence[str] = ()) -> None:
        """The promise: no order twice, none unaccounted for, no fill lost or invented, and a book that equals the account."""
        self.settle()
        accepted = [order for order in self.accepted() if order["clientOrderId"] not in strangers]
        ids = Counter(order["clientOrderId"] for order in accepted)
        with Chain.reading(self.journal) as chain:
            chain.verify()
            journal = Journal(chain, "faults")
            recovered = journal.recover(self.exchange.instruments)
            assert recovered is not None
            intended = {item.order.order_id for step in journal.steps() for item in step.approved}
            intended |= {row[0] for link in chain.entries(kind="intents") for row in link.payload["approved"]}
            booked = {(fill.trade_id, fill.quantity, fill.price) for step in journal.steps() for fill in step.fills} | settled(chain)
        theirs = {(str(fill["id"]), Decimal(fill["qty"]), Decimal(fill["price"])) for order in accepted for fill in order["fills"]}
        assert {} == {order_id: count for order_id, count in ids.items() if count > 1}
        assert set() == set(ids) - intended
        assert theirs == booked
        account = {asset: Decimal(str(amount)) for asset, amount in self.exchange.client.fetch_balance()["total"].items()}
        apart = {asset: (amount, account.get(asset)) for asset, amount in recovered.portfolio.balances().items() if abs(amount - account.get(asset, 0)) > DUST}
        assert {} == apart


def settled(chain: Chain) -> set[tuple[str, Decimal, Decimal]]:
    """Fills that were booked while recovering."""
    return {(row[1], Decimal(row[4]), Decimal(row[5])) for link in chain.entries(kind="settled") for row in link.payload["fills"]}


@pytest.fixture(scope="module")
def exchange(practice_exchange: Callable[..., dict[str, Any]]) -> Exchange:
    """A practice exchange with one symbol and a long tape."""
    return Exchange(practice_exchange("--seed", "17", "--symbols", SYMBOL, "--history-bars", "60", "--stream-bars", "2000"))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the catalogue that the test's marker names."""
    marker = request.node.get_closest_marker("row")
    assert marker is not None
    return ROWS[marker.args[0] - 1]


@pytest.fixture
def desk(exchange: Exchange, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk with nothing planned against it, before and after."""
    exchange.clear()
    exchange.sell_out()
    yield Desk(exchange, tmp_path, request.node.name)
    exchange.clear()


@pytest.fixture(scope="session")
def staged_exchange(practice_exchange: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    """An exchange whose market is made by hand."""
    return Exchange(practice_exchange(*tape(tmp_path_factory.mktemp("stage") / "tape.parquet", rounds=200)))


@pytest.fixture
def stage(staged_exchange: Exchange) -> Stage:
    """The market made by hand, calm, with nothing held and nothing planned."""
    staged_exchange.clear()
    stage = Stage(staged_exchange)
    stage.empty()
    return stage


@pytest.fixture
def staged(stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk on the market made by hand."""
    yield Desk(stage.exchange, tmp_path, request.node.name)
    stage.exchange.clear()


@pytest.fixture
def venue(staged: Desk) -> Iterator[ExchangeVenue]:
    """Our side of the exchange that `staged` trades on, without a session."""
    with ArmedLease(staged.folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        yield staged.venue(staged.exchange.fresh_client(), lease)


def cases(*numbers: int) -> list[Any]:
    """Parameters for a test that proves several rows, each with its marker."""
    return [pytest.param(ROWS[number - 1], marks=pytest.mark.row(number), id=f"row {number}") for number in numbers]
