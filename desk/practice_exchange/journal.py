"""What survives a killed process: one line per transaction, written before its answer leaves.

A line holds the market time and everything the transaction changed - orders, executions, balances - so that it happened whole or not at all. A torn
last line never happened. On opening, the file is rewritten as one line, atomically.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from desk.practice_exchange.encoding import encoded
from desk.practice_exchange.ledger import Account, account_of
from desk.practice_exchange.orders import Execution, Order, OrderList, Transfer, execution_of, list_of, order_of, transfer_of
from desk.practice_exchange.refusals import Misuse
from desk.practice_exchange.terms import Terms

PRIVATE = 0o600
KEY_BYTES = 32


@dataclass(slots=True)
class Memory:
    """The state that transactions add up to; `now_ms` None: nothing ever happened."""

    market: str
    now_ms: int | None = None
    orders: dict[int, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    lists: dict[int, OrderList] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    terms: Terms = field(default_factory=Terms)
    # What was taken of the bar that is forming, by symbol.
    taken: dict[str, Decimal] = field(default_factory=dict)

    def apply(self, line: dict[str, Any]) -> None:
        """Fold in one transaction."""
        if self.now_ms != int(line["now"]):
            self.taken.clear()
        self.now_ms = int(line["now"])
        self.orders.update((order.id, order) for order in map(order_of, line["orders"]))
        self.executions.extend(map(execution_of, line["executions"]))
        self.accounts.update((asset, account_of(row)) for asset, row in line["balances"].items())
        # Lines of an older exchange have none of what follows.
        self.lists.update((each.id, each) for each in map(list_of, line.get("lists", ())))
        self.transfers.extend(map(transfer_of, line.get("transfers", ())))
        self.taken.update((symbol, Decimal(amount)) for symbol, amount in line.get("taken", {}).items())
        if "terms" in line:
            self.terms = Terms(**line["terms"])


class Journal:
    """An append-only file in a state folder, or nothing at all when there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: int | None = None
        self._lock: int | None = None

    def open(self, market: str) -> Memory:
        """Read what happened in this market. Raises Misuse when the folder belongs to another market or another process."""
        memory = Memory(market)
        if self._folder is None:
            return memory
        self._take(self._folder)
        path = self._folder / "journal.jsonl"
        lines = self._lines(path)
        if lines and lines[0].get("market") != market:
            raise Misuse(f"expected the state of this market in {self._folder}, found another market's: give the same candles or seed, or another --state")
        for line in lines:
            memory.apply(line)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)
        return memory

    def write(self, line: dict[str, Any]) -> None:
        """Append one transaction."""
        if self._file is not None:
            # One write: a killed process leaves the line or no line; what the system has taken survives the process.
            os.write(self._file, (encoded(line) + "\n").encode())

    def compact(self, line: dict[str, Any]) -> None:
        """Replace the whole file by one line that says the same."""
        if self._folder is None:
            return
        path = self._folder / "journal.jsonl"
        _replace(path, encoded(line) + "\n")
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND, PRIVATE)

    def close(self) -> None:
        """Let go of the folder, so that the next exchange may have it."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def credentials(self) -> tuple[str, str]:
        """The key and the secret that clients sign with: kept in the folder, new for every run without one."""
        fresh = (secrets.token_hex(KEY_BYTES), secrets.token_hex(KEY_BYTES))
        if self._folder is None:
            return fresh
        path = self._folder / "credentials.json"
        if not path.exists():
            _replace(path, json.dumps(fresh))
        key, secret = json.loads(path.read_text())
        return key, secret

    def _take(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            # The system lets go of the lock when the process dies, however it dies.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misuse(f"expected a state folder of our own, found {folder} in use by another exchange: stop it, or give another --state") from error

    def _lines(self, path: Path) -> list[dict[str, Any]]:
        if not path.exists():
            return []
        whole, _, _torn = path.read_text().rpartition("\n")
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise Misuse(f"expected one JSON object per line in {path}, found something else ({error}): remove the file to start afresh") from error


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(file, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
