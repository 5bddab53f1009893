"""Everything the contract side remembers - orders, watches, fills, incomes, purses, positions, leverage - and one line per transaction of it.

The file lies beside the spot journal, in the folder that one holds locked. What a boundary does follows from the state and the tape alone, so a
process killed between the two journals does the missing boundaries again and comes to the same lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from configs.vocabulary import Side
from desk.practice_exchange.perpetual_ledger import ContractLedger, Position, Purse
from desk.practice_exchange.perpetual_orders import ContractFill, ContractOrder, Income, Watch, WatchStatus
from desk.practice_exchange.refusals import Misuse

PRIVATE = 0o600
FILE = "perpetual.jsonl"


@dataclass(frozen=True, slots=True)
class ContractOrderChanged:
    """Something happened to an order: NEW, TRADE (with its fill), AMENDMENT, CANCELED, EXPIRED or CALCULATED (a liquidation's fill)."""

    order: ContractOrder
    what: str
    fill: ContractFill | None


@dataclass(frozen=True, slots=True)
class WatchChanged:
    """Something happened to a conditional order."""

    watch: Watch


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """These assets and positions changed, because of ORDER, FUNDING_FEE or INSURANCE_CLEAR."""

    reason: str
    assets: tuple[str, ...]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarginCalled:
    """The positions in this margin asset are close to liquidation."""

    asset: str


@dataclass(frozen=True, slots=True)
class ContractBoundary:
    """Bars closed, and the next ones opened, at this instant."""

    now_ms: int


ContractHappening = ContractOrderChanged | WatchChanged | AccountChanged | MarginCalled | ContractBoundary


@dataclass(slots=True)
class Line:
    """What one transaction changed; the first line of a file names its market."""

    now: int
    market: str = ""
    orders: list[ContractOrder] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    fills: list[ContractFill] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    purses: dict[str, Purse] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, int] = field(default_factory=dict)
    taken: dict[str, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class Change:
    """What a request or a boundary changes, collected until it is written."""

    orders: dict[int, ContractOrder] = field(default_factory=dict)
    watches: dict[int, Watch] = field(default_factory=dict)
    fills: list[ContractFill] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)
    leverage: set[str] = field(default_factory=set)
    told: list[ContractHappening] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.orders or self.watches or self.assets or self.symbols or self.leverage)

    def tell_order(self, order: ContractOrder, what: str, fill: ContractFill | None = None) -> None:
        """Note a change of an order; a copy is told, since the order goes on changing."""
        self.orders[order.id] = order
        self.told.append(ContractOrderChanged(replace(order), what, fill))

    def tell_watch(self, watch: Watch) -> None:
        """Note a change of a conditional order."""
        self.watches[watch.id] = watch
        self.told.append(WatchChanged(replace(watch)))

    def tell_account(self, reason: str, asset: str, symbol: str | None = None) -> None:
        """Note a change of a purse and a position."""
        self.assets.add(asset)
        symbols = () if symbol is None else (symbol,)
        self.symbols.update(symbols)
        self.told.append(AccountChanged(reason, (asset,), symbols))


class ContractBook:
    """The state, in memory and on disk; `now_ms` None: nothing ever happened."""

    def __init__(self, folder: Path | None, market: str) -> None:
        self.now_ms: int | None = None
        self.orders: dict[int, ContractOrder] = {}
        self.watches: dict[int, Watch] = {}
        self.fills: list[ContractFill] = []
        self.incomes: list[Income] = []
        self.leverage: dict[str, int] = {}
        self.taken: dict[str, Decimal] = {}
        self.ledger = ContractLedger({}, {})
        self._open: dict[int, ContractOrder] = {}
        self._waiting: dict[int, Watch] = {}
        self._newest: dict[tuple[str, str], ContractOrder] = {}
        self._file: int | None = None
        self._market = market
        self._lines = TypeAdapter(Line)
        if folder is not None:
            self._load(folder / FILE)

    @property
    def idle(self) -> bool:
        """Whether nothing can happen at a boundary."""
        return not (self._open or self._waiting or any(position.quantity for position in self.ledger.positions.values()))

    @property
    def next_order(self) -> int:
        """The id of the next order."""
        return next(reversed(self.orders), 0) + 1

    @property
    def next_rank(self) -> int:
        """A rank behind every open order."""
        return max((order.rank for order in self._open.values()), default=0) + 1

    @property
    def next_watch(self) -> int:
        """The id of the next conditional order."""
        return next(reversed(self.watches), 0) + 1

    def enter(self, order: ContractOrder) -> None:
        """Take an order in."""
        self.orders[order.id] = order
        self._newest[(order.symbol, order.client_id)] = order
        self._open[order.id] = order

    def settle(self, order: ContractOrder) -> None:
        """Take an order that has ended off the open ones."""
        if not order.open:
            self._open.pop(order.id, None)

    def enter_watch(self, watch: Watch) -> None:
        """Take a conditional order in."""
        self.watches[watch.id] = watch
        self._waiting[watch.id] = watch

    def settle_watch(self, watch: Watch) -> None:
        """Take a conditional order that waits no more off the waiting ones."""
        if watch.status is not WatchStatus.NEW:
            self._waiting.pop(watch.id, None)

    def open_orders(self, symbol: str | None = None) -> list[ContractOrder]:
        """Orders that can still fill, oldest first."""
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def waiting(self, symbol: str | None = None) -> list[Watch]:
        """Conditional orders that can still be reached, oldest first."""
        return [watch for watch in self._waiting.values() if symbol in (None, watch.symbol)]

    def resting_reducers(self, symbol: str, side: Side) -> list[ContractOrder]:
        """Open orders of one side that may only reduce."""
        return [order for order in self.open_orders(symbol) if order.reduces and order.side is side]

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> ContractOrder | None:
        """The order of this id, or else the newest of this client id."""
        if order_id is None:
            return self._newest.get((symbol, client_id or ""))
        order = self.orders.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def find_watch(self, watch_id: int | None, client_id: str | None) -> Watch | None:
        """The conditional order of this id, or else the newest of this client id."""
        if watch_id is not None:
            return self.watches.get(watch_id)
        return next((watch for watch in reversed(self.watches.values()) if watch.client_id == client_id), None)

    def fills_of(self, symbol: str, order_id: int | None = None) -> list[ContractFill]:
        """Fills of a symbol, of one order when named, oldest first."""
        return [fill for fill in self.fills if fill.symbol == symbol and order_id in (None, fill.order_id)]

    def write(self, change: Change, now_ms: int) -> None:
        """Append one transaction."""
        self.now_ms = now_ms
        purses = {asset: self.ledger.purses[asset] for asset in sorted(change.assets)}
        positions = {symbol: self.ledger.positions[symbol] for symbol in sorted(change.symbols)}
        leverage = {symbol: self.leverage[symbol] for symbol in sorted(change.leverage)}
        orders, watches = list(change.orders.values()), list(change.watches.values())
        self._append(Line(now_ms, "", orders, watches, change.fills, change.incomes, purses, positions, leverage, self.taken))

    def everything(self, now_ms: int) -> bytes:
        """The whole state as one line of JSON, exact."""
        orders, watches = list(self.orders.values()), list(self.watches.values())
        purses, positions = self.ledger.purses, self.ledger.positions
        line = Line(now_ms, self._market, orders, watches, self.fills, self.incomes, purses, positions, self.leverage, self.taken)
        return self._lines.dump_json(line)

    def compact(self, now_ms: int) -> None:
        """Replace the whole file by one line that says the same."""
        if self._file is None:
            return
        partial = self._path.with_suffix(".partial")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        with os.fdopen(file, "wb") as stream:
            stream.write(self.everything(now_ms) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._path)
        os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND, PRIVATE)

    def _append(self, line: Line) -> None:
        if self._file is not None:
            # One write: a killed process leaves the line or no line.
            os.write(self._file, self._lines.dump_json(line, exclude_defaults=True) + b"\n")

    def _load(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        whole, _, _torn = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")
        try:
            lines = [self._lines.validate_json(text) for text in whole.splitlines()]
        except ValidationError as error:
            raise Misuse(f"expected one transaction per line in {path}, found something else ({error}): remove the file to start afresh") from error
        if lines and lines[0].market != self._market:
            raise Misuse(f"expected the contracts of this market in {path}, found another market's: give another --state")
        self._fold(lines)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)

    def _fold(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.now_ms = line.now
            self.orders.update((order.id, order) for order in line.orders)
            self.watches.update((watch.id, watch) for watch in line.watches)
            self.fills.extend(line.fills)
            self.incomes.extend(line.incomes)
            self.ledger.purses.update(line.purses)
            self.ledger.positions.update(line.positions)
            self.leverage.update(line.leverage)
            self.taken = line.taken
        self._open = {order.id: order for order in self.orders.values() if order.open}
        self._waiting = {watch.id: watch for watch in self.watches.values() if watch.status is WatchStatus.NEW}
        self._newest = {(order.symbol, order.client_id): order for order in self.orders.values()}
