"""Where a trader can be killed: its parts, each able to die at a named point. Production code knows nothing of it.

Death is `kill -9` by the process's own hand, in the middle of the call, or by the parent at a random moment.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from desk.chain import Chain, Entry, Head
from desk.events import BarsClosed, Fill
from desk.execution.exchange_venue import ExchangeVenue
from desk.execution.venue import Answer

RANDOM = "any moment"
# While trading.
TRADING = (
    "step: before write",
    "step: written, not committed",
    "step: committed",
    "order: before send",
    "order: sent, no answer read",
    "order: answered",
    "answers: before write",
    "answers: written, not committed",
    "answers: committed",
    "fills: before asking",
    "fills: answered",
    "fills: half folded",
)
# While standing up again after a first death that left orders in doubt.
RECOVERING = ("resolve: before asking", "resolve: answered", "settled: before write", "settled: written, not committed", "settled: committed")
DOUBTFUL = ("order: sent, no answer read", "order: answered", "answers: committed")


@dataclass
class Fate:
    """Die when `point` is reached for the `nth` time."""

    point: str
    nth: int

    def reach(self, point: str) -> None:
        """Here we are."""
        if point != self.point:
            return
        self.nth -= 1
        if self.nth == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def due(self, point: str) -> bool:
        """Whether the next `reach` of `point` is the last."""
        return point == self.point and self.nth == 1


class FragileChain(Chain):
    """A journal file whose writer dies before the write, between write and commit, or after it."""

    fate: Fate

    def append(self, entries: Sequence[Entry]) -> Head:
        """Add all entries or none, if we live."""
        kind = entries[0].kind
        self.fate.reach(f"{kind}: before write")
        self._db.set_trace_callback(lambda statement: self.fate.reach(f"{kind}: written, not committed") if statement == "COMMIT" else None)
        head = super().append(entries)
        self._db.set_trace_callback(None)
        self.fate.reach(f"{kind}: committed")
        return head


class FragileVenue(ExchangeVenue):
    """A venue whose process dies around asking."""

    fate: Fate

    def fills(self, event: BarsClosed) -> Iterator[Fill]:  # type: ignore[override]
        """Hand the fills over one by one, so that death can come when half of them are folded."""
        self.fate.reach("fills: before asking")
        found = super().fills(event)
        if found:
            self.fate.reach("fills: answered")
        for number, fill in enumerate(found):
            yield fill
            if number == 0:
                self.fate.reach("fills: half folded")

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Ask what became of an order."""
        self.fate.reach("resolve: before asking")
        answer = super().resolve(order_id, symbol)
        self.fate.reach("resolve: answered")
        return answer


def fragile_client(client: type) -> type:
    """A ccxt class whose process dies before the request leaves, after its last byte did, or with the answer in hand."""

    class Fragile(client):  # type: ignore[misc]
        fate: Fate

        def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            """One HTTP request."""
            if method != "POST" or not urlsplit(url).path.endswith("/order"):
                return super().fetch(url, method, headers, body)
            self.fate.reach("order: before send")
            if self.fate.due("order: sent, no answer read"):
                self._send_only(url, self.prepare_request_headers(headers), body)
            self.fate.reach("order: sent, no answer read")
            reply = super().fetch(url, method, headers, body)
            self.fate.reach("order: answered")
            return reply

        def _send_only(self, url: str, headers: dict[str, str], body: str) -> None:
            address = urlsplit(url)
            lines = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
            connection = socket.create_connection((address.hostname, address.port))
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    return Fragile
