"""Claim: a trader killed at any moment is, once started again, where it would have been. The exchange's own ledger is the oracle.

Each run is one live session through ccxt's REST and websocket against a practice exchange process. Its trader is killed (-9) several times, at named
points of its work and at random moments, and started again until its window of bars is over. Then the exchange is asked, on the port no trader sees,
for every order it accepted and every trade: none of ours may be there twice, none may be missing from our book, and book and account must be equal.

Traders are forks of a process that has imported most of it; what a cold start adds is measured once and added to every recovery time. The exception is
polars, whose threads do not survive a fork: whatever imports it is imported in the fork.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
from _crash_points import DOUBTFUL, RANDOM, RECOVERING, TRADING, Fate, FragileChain, FragileVenue, fragile_client
from _crash_tally import Tally, booked, raw
from _proof import Size, Verdict, ask, exchange, percentile, prove, tell

from configs.risk import RiskSettings
from configs.trading import JournalSettings, TradingSettings
from configs.vocabulary import Timeframe
from desk.books.journal import Journal
from desk.chain import Chain
from desk.clock import WallClock
from desk.errors import Transient, Unresolved
from desk.execution.ccxt_settings import constructor_config
from desk.execution.readiness import preflight, trading_scope
from desk.instruments import Instrument
from desk.security.arming import ArmedLease
from desk.strategy.policy import View

SYMBOLS = "BTC/USDT,ETH/USDT"
BARS = 6  # of one run's window
# Deaths planned for each run; a point that is not reached kills nobody. A small proof kills more often, to strike every point.
KILLS, KILLS_OF_FULL = 3, 1
RUNS_PER_EXCHANGE = 25
WORKERS = 8  # most of a run is waiting for the exchange
# Shorter than in use, so that proving that a request can no longer arrive takes two seconds and not six; a busy machine must still keep it.
RECEIVE_WINDOW_MS = 1000
LIFE_LIMIT_S = 60.0
STOPPED = 3  # exit status of a trader that stopped itself and says: start again
STOPS_LIMIT = 5  # in one run
GOAL_S = 10.0
HITS_GOAL = 20
FULL_RUNS = 500  # from this many on every point must have been struck often enough


class Restless:
    """Turns over at every close, so that every bar has orders."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        """In, out, in, ..."""
        return 0.0 if view.previous > 0 else 1.0


class Bench:
    """One exchange process, and what every trader on it needs."""

    def __init__(self, greeting: dict[str, Any], folder: Path) -> None:
        self.greeting, self.folder = greeting, folder
        self.config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")))
        self.client = ccxt.binance(self.config)
        self.client.load_markets()
        self.instruments = self._instruments()
        self.seen = 0

    def _instruments(self) -> dict[str, Instrument]:
        path = self.folder / "instruments.pickle"
        child = os.fork()
        if child == 0:
            from desk.market.exchange_source import ExchangeSource

            path.write_bytes(pickle.dumps(ExchangeSource(self.fresh_client(ccxt.binance)).instruments()))
            os._exit(0)
        os.waitpid(child, 0)
        found: dict[str, Instrument] = pickle.loads(path.read_bytes())
        return found

    def fresh_client(self, kind: type) -> Any:
        """A client that knows the markets already."""
        client = kind(self.config)
        client.set_markets(self.client.markets, self.client.currencies)
        client.options["recvWindow"] = RECEIVE_WINDOW_MS
        return client

    def close_a_bar(self) -> None:
        """Ask the exchange for one more bar."""
        ask(self.greeting, "/advance", {"bars": 1})


@dataclass(frozen=True)
class Life:
    """From one start of a trader to its end."""

    bench: Bench
    name: str
    fate: Fate
    bars_left: int

    @property
    def journal(self) -> Path:
        """Where its journal is."""
        return self.bench.folder / f"{self.name}.sqlite"

    def trade(self, standing: int) -> None:
        """Recover, then trade what is left of the window."""
        from desk.market.exchange_source import ExchangeSource
        from desk.market.streamed_feed import StreamedFeed, Window
        from desk.modes import Clearance, Setup, live, open_book

        class Announced(StreamedFeed):
            """Tells the parent when recovery is over: a session asks for events only then."""

            def events(self, after: datetime | None) -> Iterator[Any]:
                """Every event closed after `after`."""
                os.write(standing, b"up")
                yield from super().events(after)

        bench = self.bench
        # Snapshots every other step, so that recoveries begin at one.
        trading = TradingSettings(journal=JournalSettings(snapshot_steps=2))
        setup = Setup(self.name, "crash-proof", bench.instruments, Restless(), trading, RiskSettings())
        client = bench.fresh_client(fragile_client(ccxt.binance))
        client.fate = self.fate
        window = Window(self.bars_left, advance=bench.close_a_bar, watchdog_s=20.0)
        feed = Announced(ExchangeSource(client), lambda: bench.fresh_client(ccxt.pro.binance), tuple(bench.instruments), Timeframe.H1, window)
        with FragileChain(self.journal, sync=True) as chain, self._lease() as lease:
            chain.fate = self.fate
            passed, scope = preflight(client, bench.instruments), trading_scope(client)
            venue = FragileVenue(client, bench.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
            venue.fate = self.fate
            book = open_book(setup, venue, chain, feed.opened_at)
            live(feed, setup, venue, Clearance(passed, book, lease, scope), chain)

    def steps(self) -> int:
        """How many bars the journal holds."""
        if not self.journal.exists():
            return 0
        try:
            with Chain.reading(self.journal) as chain:
                return len(Journal(chain, "").steps())
        except sqlite3.OperationalError:
            return 0  # killed between making the file and making its table

    def _lease(self) -> ArmedLease:
        return ArmedLease(self.bench.folder / "armed", WallClock().now() + timedelta(minutes=5))


def fork(life: Life, patience_s: float) -> tuple[str, float | None]:
    """Live one life in a process of its own; after `patience_s` it is killed from outside. How it ended, and seconds until it stood."""
    reading, writing = os.pipe()
    began = time.monotonic()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = 1
        try:
            life.trade(writing)
            status = 0
        except (Transient, Unresolved) as stop:
            # What it may do about these is said in their names: start again.
            tell(f"{life.name} stopped itself: {stop}")
            status = STOPPED
        except BaseException as error:  # noqa: BLE001 - the child of a fork must never return into its parent's stack
            tell(f"{life.name}: {type(error).__name__}: {error}")
        finally:
            os._exit(status)
    os.close(writing)
    stood: float | None = None
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(handle, select.POLLIN)
    deadline = began + patience_s
    over = False
    while not over:
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        over = handle in ready
        if reading in ready:
            if os.read(reading, 2):
                stood = time.monotonic() - began
            poll.unregister(reading)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    os.close(handle)
    if os.WIFSIGNALED(status):
        return "killed", stood
    if os.WEXITSTATUS(status) == STOPPED:
        return "stopped", stood
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"{life.name} ended with status {os.WEXITSTATUS(status)} after {time.monotonic() - began:.1f} s")
    return "done", stood


def fates(chance: random.Random, number: int, kills: int) -> list[tuple[Fate, float]]:
    """The deaths planned for run `number`, each with the seconds after which the parent strikes. Points take turns, so that each is struck as often."""
    planned = []
    for kill in range(kills):
        turn = number * kills + kill
        if turn % 6 == 5:
            planned.append((Fate(RANDOM, 1), chance.uniform(0.02, 1.5)))
        elif turn % 6 == 3:
            # It takes a death that leaves doubt to get to the points of recovering.
            planned.append((Fate(chance.choice(DOUBTFUL), chance.randint(1, 2)), LIFE_LIMIT_S))
            planned.append((Fate(RECOVERING[turn // 6 % len(RECOVERING)], 1), LIFE_LIMIT_S))
        else:
            planned.append((Fate(TRADING[(turn + turn // 6) % len(TRADING)], chance.randint(1, 3)), LIFE_LIMIT_S))
    return planned


def one_run(bench: Bench, seed: int, number: int, kills: int) -> Tally:
    """Trade one window through all its deaths, then compare with the exchange."""
    chance = random.Random(f"{seed}/{number}")
    tally, name = Tally(runs=1), f"run-{seed}-{number}"
    before = False
    planned = [*fates(chance, number, kills), (Fate("", 0), LIFE_LIMIT_S), (Fate("", 0), LIFE_LIMIT_S)]
    while planned:
        fate, patience_s = planned.pop(0)
        life = Life(bench, name, fate, BARS - Life(bench, name, fate, 0).steps())
        end, stood = fork(life, patience_s)
        if before and stood is not None:
            tally.recoveries.append(stood)
        before = end == "killed"
        if before:
            tally.kills += 1
            tally.hits[fate.point] += 1
        if end == "stopped":
            tally.stops += 1
            planned.append((Fate("", 0), LIFE_LIMIT_S))
            if tally.stops > STOPS_LIMIT:
                raise RuntimeError(f"{name} stopped itself {tally.stops} times")
    compare(bench, life, tally)
    return tally


def judged(bench: Bench, seed: int, number: int, kills: int) -> Tally:
    """One run; a trader that died without being killed is a wrong outcome like any other, and the next run has a session of its own."""
    try:
        return one_run(bench, seed, number, kills)
    except RuntimeError as died:
        bench.seen = len(ask(bench.greeting, "/orders"))
        return Tally(runs=1, strange=[str(died)])


def compare(bench: Bench, life: Life, tally: Tally) -> None:
    """The exchange's ledger against our journal."""
    ledger = ask(bench.greeting, "/orders")
    accepted, bench.seen = ledger[bench.seen :], len(ledger)
    with Chain.reading(life.journal) as chain:
        journal = Journal(chain, "")
        approved = [item.order.order_id for step in journal.steps() for item in step.approved]
        answers = [row for link in chain.entries(kind="answers") for row in link.payload["answers"]]
        recovered = journal.recover(bench.instruments)
        settled = {fill for link in chain.entries(kind="settled") for fill in raw(link.payload["fills"])}
        ours = {fill for step in journal.steps() for fill in booked(step.fills)} | settled
    assert recovered is not None
    ids = Counter(order["clientOrderId"] for order in accepted)
    theirs = {(order["clientOrderId"], str(fill["id"]), Decimal(fill["qty"]), Decimal(fill["price"])) for order in accepted for fill in order["fills"]}
    rejected = {order_id for order_id, outcome, _ in answers if outcome == "rejected"}
    tally.orders, tally.fills = len(accepted), len(theirs)
    tally.duplicates = sum(count - 1 for count in ids.values()) + (len(approved) - len(set(approved)))
    tally.lost_fills = len(theirs ^ ours)
    tally.strange += [f"{life.name}: {order_id} accepted, never approved" for order_id in ids if order_id not in approved]
    unknown = [order_id for order_id in approved if order_id not in ids and order_id not in rejected]
    tally.strange += [f"{life.name}: {order_id} approved, neither accepted nor rejected" for order_id in unknown]
    steps = Life(bench, life.name, life.fate, 0).steps()
    if steps != BARS:
        tally.strange.append(f"{life.name}: {steps} steps instead of {BARS}")
    totals = {asset: Decimal(str(amount)) for asset, amount in bench.client.fetch_balance()["total"].items()}
    book = recovered.portfolio.balances()
    apart = [f"{asset} {amount} against {totals.get(asset)}" for asset, amount in book.items() if abs(amount - totals.get(asset, Decimal(0))) > Decimal("1e-8")]
    tally.unequal_books = int(bool(apart))
    tally.strange += apart


def batch(work: tuple[int, int, list[int]]) -> Tally:
    """Some runs, one after the other, on an exchange of their own."""
    seed, kills, numbers = work
    tally = Tally()
    bars = str(RUNS_PER_EXCHANGE * (BARS + 4))
    with tempfile.TemporaryDirectory(prefix="tradewind-crash-") as folder:
        market = ("--seed", str(seed + numbers[0]), "--symbols", SYMBOLS, "--history-bars", "30", "--stream-bars", bars)
        with exchange(*market) as greeting:
            bench = Bench(greeting, Path(folder))
            for number in numbers:
                tally.add(judged(bench, seed, number, kills))
    return tally


def leave_in_order() -> None:
    """A worker that is told to go stops its exchange first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def cold_start_s() -> float:
    """What a trader's imports take in a new interpreter."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import ccxt.pro, desk.modes, desk.execution.exchange_venue, polars"], check=True)
    return time.monotonic() - began


def crash(seed: int, runs: int) -> Verdict:
    """Kill a live trader again and again; compare with the exchange's ledger."""
    began = time.monotonic()
    cold = cold_start_s()
    kills = KILLS if runs < FULL_RUNS else KILLS_OF_FULL
    share = min(RUNS_PER_EXCHANGE, -(-runs // WORKERS))
    work = [(seed, kills, list(range(first, min(first + share, runs)))) for first in range(0, runs, share)]
    tally = Tally()
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(min(WORKERS, len(work)), leave_in_order, maxtasksperchild=4) as pool:
        for done in pool.imap_unordered(batch, work):
            tally.add(done)
            for what in done.strange:
                tell(what)
            tell(f"{datetime.now(UTC):%H:%M:%S} {tally.runs}/{runs} runs, {tally.kills} kills, {len(tally.strange)} strange")
        # Workers that are told to go while they wait for work may wait for one another.
        pool.close()
        pool.join()
    hits = {point: tally.hits[point] for point in (*TRADING, *RECOVERING, RANDOM)}
    p95 = percentile(tally.recoveries, 0.95) + cold
    wrong = tally.duplicates + tally.lost_fills + tally.unequal_books + len(tally.strange)
    met = wrong == 0 and p95 < GOAL_S and (runs < FULL_RUNS or min(hits.values()) >= HITS_GOAL)
    detail = {
        "kills": tally.kills,
        "stopped_itself": tally.stops,
        "orders": tally.orders,
        "fills": tally.fills,
        "duplicate_orders": tally.duplicates,
        "lost_fills": tally.lost_fills,
        "unequal_books": tally.unequal_books,
        "strange": tally.strange[:20],
        "recovery_p50_s": round(percentile(tally.recoveries, 0.5) + cold, 3),
        "recovery_p95_s": round(p95, 3),
        "of_which_cold_start_s": round(cold, 3),
        "hits": hits,
        "seconds_per_run": round((time.monotonic() - began) / runs, 3),
    }
    goal = "0 duplicate orders, lost fills and unequal books; recovery p95 < 10 s" + (f"; >= {HITS_GOAL} hits per point" if runs >= FULL_RUNS else "")
    return Verdict(runs, wrong, "wrong outcomes", goal, met, detail)


if __name__ == "__main__":
    sys.exit(prove("crash", Size(150, 2000), crash))
