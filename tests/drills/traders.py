"""A trader as a process of its own on a practice exchange process, and the exchange's ledger to compare its journal with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from configs.learning import LearningSettings
from configs.market import MarketSettings, PracticeSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import ExecutionSettings, JournalSettings, TradingSettings
from configs.vocabulary import Route
from desk.books.journal import Journal
from desk.chain import Chain
from desk.modes import Setup
from desk.strategy.policy import View
from tasks.live import live_window
from tasks.services import recorded_exchange
from tasks.standing import venue_of
from tasks.trade import paper_window
from tasks.values import Market, Rules, Window

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTC/USDT", "ETH/USDT")
MARKET = MarketSettings(practice=PracticeSettings(seed=5, symbols=SYMBOLS, history_bars=200, stream_bars=600))

# With a number of bytes no file of it may grow beyond that: its disk is full.
TRADER = """
import json, resource, sys
from pathlib import Path
from configs.operations import OperationsSettings
from tasks.values import Market, Rules, Window
from tests.drills.traders import window

var, market, bars, room, how = sys.argv[1:]
if int(room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
window(OperationsSettings(var=Path(var)), Market.model_validate_json(market), int(bars), sys.stdout, **json.loads(how))
"""


class Restless:
    """Trades at every close and is always in the market; says a word for every symbol it decides on."""

    warmup_bars = 2

    def __init__(self, said: TextIO | None) -> None:
        self.said = said

    def target(self, view: View) -> float:
        if self.said is not None:
            self.said.write(f"{view.closed_at.isoformat()}\n")
            self.said.flush()
        return 1.0 if view.previous < 0.75 else 0.5


def window(
    operations: OperationsSettings, market: Market, bars: int, said: TextIO | None = None, *, mode: str = "live", stall_s: float = 5.0, slice_s: float = 0.0
) -> Window:
    """One window of `bars`, with stops that rest; in whatever process asks for it. With `slice_s` every order rests at the touch first, for so long."""
    execution = ExecutionSettings(route=Route.ICEBERG, route_above=1, slices=2, slice_seconds=slice_s) if slice_s else ExecutionSettings()
    trading = TradingSettings(paper_bars=bars, protective_stop=0.2, journal=JournalSettings(stall_s=stall_s), execution=execution)
    rules = Rules(trading=trading, risk=RiskSettings(), learning=LearningSettings(), settings_hash="settings-1")
    setup = Setup(f"{mode}-{market.name}", "settings-1", market.grid(), Restless(said), trading, RiskSettings())
    return live_window(market, setup, rules, operations, 5) if mode == "live" else paper_window(market, setup, rules, operations)


Start = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def traders(operations: OperationsSettings, market: Market) -> Iterator[Start]:
    """`start(closes, bars, room, environment, **how)` starts a trader with a window of `bars`, and waits until it has seen so many closes.

    None is left at the end.
    """
    running: list[subprocess.Popen[str]] = []

    def start(closes: int, bars: int = 500, room: int = 0, environment: Mapping[str, str] | None = None, **how: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRADER, str(operations.var), market.model_dump_json(), str(bars), str(room), json.dumps(how)]
        inherited = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=ROOT, env=inherited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        heard = {process.stdout.readline() for _ in range(closes * len(SYMBOLS))}
        assert "" not in heard, process.communicate()[1]
        return process

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.communicate()


def ledger(operations: OperationsSettings) -> list[dict[str, Any]]:
    """Every order the exchange ever accepted, with its fills: asked at the door that no trader sees."""
    with urllib.request.urlopen(f"{recorded_exchange(operations).admin}/orders", timeout=10) as answer:
        return list(json.load(answer))


def still_open(operations: OperationsSettings) -> list[dict[str, Any]]:
    """Orders that can still execute."""
    return [order for order in ledger(operations) if order["status"] in ("NEW", "PARTIALLY_FILLED")]


def held(operations: OperationsSettings, market: Market) -> dict[str, Decimal]:
    """What the account holds of every base, at least a lot, by the exchange's word."""
    reached = venue_of(operations)
    assert reached is not None
    totals = reached[1].fetch_balance()["total"]
    amounts = {row.base: (Decimal(str(totals.get(row.base, 0))), Decimal(row.lot)) for row in market.instruments}
    return {base: amount for base, (amount, lot) in amounts.items() if amount >= lot}


def journal_of(operations: OperationsSettings, market: Market, mode: str = "live") -> Path:
    return operations.var / "journal" / f"{mode}-{market.name}.sqlite"


def booked(operations: OperationsSettings, market: Market) -> set[tuple[str, str]]:
    """Every execution in the journal: our order, the exchange's trade."""
    with Chain.reading(journal_of(operations, market)) as chain:
        return {(fill[0], fill[1]) for link in chain.entries() for fill in link.payload.get("fills", ())}


def approved(operations: OperationsSettings, market: Market) -> set[str]:
    """Every order in the journal."""
    with Chain.reading(journal_of(operations, market)) as chain:
        return {order[0] for link in chain.entries() for order in link.payload.get("approved", ())}


def steps_of(operations: OperationsSettings, market: Market) -> int:
    with Chain.reading(journal_of(operations, market)) as chain:
        return len(Journal(chain, "").steps())


def executed(operations: OperationsSettings) -> set[tuple[str, str]]:
    """Every execution at the exchange."""
    return {(order["clientOrderId"], str(fill["id"])) for order in ledger(operations) for fill in order["fills"]}


def each_once(operations: OperationsSettings) -> bool:
    """Whether no order was accepted twice."""
    return set(Counter(order["clientOrderId"] for order in ledger(operations)).values()) <= {1}
