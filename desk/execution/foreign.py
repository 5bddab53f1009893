"""Who else acts on our account? Orders and trades that no decision of ours made.

An order is ours when its id stands in the journal, as a decision or as a slice of one; the prefix alone proves nothing, because another desk
uses it too. Trades are looked at from a mark on, which a new journal sets at the account's newest trade, so that what was done by hand before it
was opened is nobody's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from configs.vocabulary import Side
from desk.books.fold import ANSWERS, REJECTED, STEP
from desk.chain import Chain
from desk.disk import write_whole
from desk.events import Fill
from desk.execution.order import ID_PREFIX, slice_id
from desk.execution.wire_orders import fill_of
from desk.instruments import Instrument
from desk.market.wire_errors import asking

PAGE = 1000
# More slices than any order is sent in (the settings allow 50), and a second attempt of each.
SLICES, ATTEMPTS = 60, 2


@dataclass(frozen=True, slots=True)
class Stranger:
    """A foreign order, or with a `trade_id` a foreign execution. `quantity` in base, `price` in quote (0: a market order's)."""

    symbol: str
    order: str
    client_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    trade_id: str = ""

    @property
    def key(self) -> str:
        """Its name for as long as the exchange remembers it."""
        return f"{self.symbol} trade {self.trade_id}" if self.trade_id else f"{self.symbol} order {self.order}"

    def __str__(self) -> str:
        return f"{self.key}: {self.side.value} {self.quantity} at {self.price or 'market'}, placed as {self.client_id or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an account found besides what the book knows.

    `foreign_fills` by their key; `late`: orders of ours that were given up and exist (in words); `fills`: executions of ours that are not booked yet.
    """

    strangers: tuple[Stranger, ...]
    foreign_fills: dict[str, Fill]
    late: tuple[str, ...]
    fills: tuple[Fill, ...]


@dataclass(slots=True)
class _Told:
    """What the journal tells from some entry on: orders by what became of them, booked trades, and the entry before its newest step."""

    decided: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    booked: set[tuple[str, str]] = field(default_factory=set)
    newest_step: int = 0

    def ours(self, client_id: str) -> bool:
        """Whether an id is a decision's, or a slice's of one."""
        if client_id in self.decided:
            return True
        return client_id.startswith(ID_PREFIX) and client_id in {
            slice_id(parent, index, attempt) for parent in self.decided for index in range(SLICES) for attempt in range(1, ATTEMPTS + 1)
        }


class Sentry:
    """Looks at one account through a ccxt object. `path` keeps, as JSON, how far it has looked; losing it costs one longer look.

    `page`: trades of one answer, the most that an exchange gives.
    """

    def __init__(self, exchange: Any, instruments: Mapping[str, Instrument], path: Path, page: int = PAGE) -> None:
        self._exchange = exchange
        self._instruments = dict(instruments)
        self._path = path
        self._page = page

    def look(self, chain: Chain) -> Look:
        """Compare the account's orders and trades with the journal. The journal is read last: it knows of every order before the exchange does."""
        marks, after = self._marks()
        open_orders = self._open_orders()
        trades = {symbol: self._trades(symbol, marks.get(symbol)) for symbol in self._instruments}
        told = _told(chain, after)
        marks = {symbol: marks.get(symbol, _first_mark(symbol, found, told)) for symbol, found in trades.items()}
        fresh = [(symbol, trade) for symbol, found in trades.items() for trade in found if int(trade["id"]) > marks[symbol]]
        unbooked = [(symbol, trade) for symbol, trade in fresh if (symbol, str(trade["id"])) not in told.booked]
        look = self._judge(open_orders, unbooked, told)
        # What was not booked is looked at again, together with the decisions behind it.
        self._keep({symbol: _mark(symbol, marks[symbol], fresh, unbooked) for symbol in marks}, after if unbooked or look.late else told.newest_step)
        return look

    def _judge(self, open_orders: list[Any], unbooked: list[tuple[str, Any]], told: _Told) -> Look:
        strangers, late, fills = list[Stranger](), list[str](), list[Fill]()
        foreign: dict[str, Fill] = {}
        for order in open_orders:
            client_id = str(order.get("clientOrderId") or "")
            if not told.ours(client_id):
                strangers.append(_stranger(order, client_id))
            elif client_id in told.rejected:
                late.append(f"order {client_id} of {order['symbol']} is open, and was given up as never arrived")
        names = self._names({(symbol, str(trade["order"])) for symbol, trade in unbooked})
        for symbol, trade in unbooked:
            client_id = names[symbol, str(trade["order"])]
            fill = fill_of(client_id or str(trade["order"]), self._instruments[symbol], trade)
            if not told.ours(client_id):
                strangers.append(Stranger(symbol, str(trade["order"]), client_id, fill.side, fill.quantity, fill.price, fill.trade_id))
                foreign[strangers[-1].key] = fill
            elif client_id in told.rejected:
                late.append(f"order {client_id} of {symbol} executed {fill.quantity} (trade {fill.trade_id}), and was given up as never arrived")
            else:
                fills.append(fill)
        return Look(tuple(strangers), foreign, tuple(late), tuple(fills))

    def _open_orders(self) -> list[Any]:
        """Of the whole account: a stranger need not trade what we trade."""
        self._exchange.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
        with asking("every open order of the account"):
            return list(self._exchange.fetch_open_orders())

    def _trades(self, symbol: str, mark: int | None) -> list[Any]:
        """Trades after the one numbered `mark`; the newest ones without such a mark."""
        found: list[Any] = []
        while True:
            first = {} if mark is None else {"fromId": mark + 1}
            with asking(f"our trades of {symbol}"):
                page = self._exchange.fetch_my_trades(symbol, None, self._page, first)
            found += page
            if mark is None or len(page) < self._page:
                return found
            mark = max(int(trade["id"]) for trade in page)

    def _names(self, orders: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Our own ids of orders, by symbol and the exchange's id."""
        named = {}
        for symbol, order in sorted(orders):
            with asking(f"the order {order} of {symbol}"):
                named[symbol, order] = str(self._exchange.fetch_order(order, symbol).get("clientOrderId") or "")
        return named

    def _marks(self) -> tuple[dict[str, int], int]:
        """The newest trade settled by symbol, and the journal's entry from which it must be read; nothing and 0 when nobody looked yet."""
        try:
            row = json.loads(self._path.read_text(encoding="utf-8"))
            return {symbol: int(number) for symbol, number in row["trades"].items()}, int(row["entry"])
        except (OSError, ValueError, TypeError, KeyError):
            return {}, 0

    def _keep(self, marks: Mapping[str, int], entry: int) -> None:
        write_whole(self._path, json.dumps({"trades": dict(marks), "entry": entry}))


def _told(chain: Chain, after: int) -> _Told:
    """Read what the journal says of orders and trades from an entry on."""
    told = _Told()
    for link in chain.entries(after):
        row = link.payload
        told.decided.update(order[0] for name in ("approved", "stops", "cancels") for order in row.get(name, ()))
        told.booked.update((fill[2], fill[1]) for fill in row.get("fills", ()))
        if link.kind == ANSWERS:
            told.rejected.update(order_id for order_id, outcome, _ in row["answers"] if outcome == REJECTED)
        elif link.kind == STEP:
            told.newest_step = link.sequence - 1
    return told


def _first_mark(symbol: str, found: list[Any], told: _Told) -> int:
    """Where to begin without a mark: before the oldest trade that the journal booked, or, when it has none, after the newest one there is."""
    numbers = [int(trade["id"]) for trade in found]
    booked = [number for number in numbers if (symbol, str(number)) in told.booked]
    return min(booked) - 1 if booked else max(numbers, default=-1)


def _mark(symbol: str, mark: int, fresh: list[tuple[str, Any]], unbooked: list[tuple[str, Any]]) -> int:
    """The newest trade before which all are booked."""
    open_ones = [int(trade["id"]) for name, trade in unbooked if name == symbol]
    return min(open_ones) - 1 if open_ones else max([mark, *(int(trade["id"]) for name, trade in fresh if name == symbol)])


def _stranger(order: Mapping[str, Any], client_id: str) -> Stranger:
    quantity, price = (Decimal(str(order.get(name) or 0)) for name in ("amount", "price"))
    return Stranger(str(order["symbol"]), str(order["id"]), client_id, Side(order["side"]), quantity, price)
