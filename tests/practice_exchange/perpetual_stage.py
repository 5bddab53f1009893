"""A contract market made by hand, without a wire: bars are given as rows, time moves by `close()`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from configs.trading import CostSettings
from configs.vocabulary import Side, Timeframe
from desk.practice_exchange.clock import MarketClock
from desk.practice_exchange.funding import Funding
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.perpetual import Perpetuals
from desk.practice_exchange.perpetual_account import ContractAccount
from desk.practice_exchange.perpetual_book import ContractBook, ContractHappening
from desk.practice_exchange.perpetual_dealing import ContractDealing
from desk.practice_exchange.perpetual_orders import ContractKind, ContractLife, ContractTicket, WatchKind, WatchTicket
from desk.practice_exchange.tape import Candles, Tape

SYMBOL = "BTC/USDT"
HOUR_MS = 3_600_000
START_MS = 1_700_006_400_000 - 1_700_006_400_000 % (8 * HOUR_MS)
FREE = CostSettings(fee_rate=0.0, half_spread_bps=0.0, impact_bps=0.0, participation_cap=1.0)
PLENTY = 1000.0
Bar = tuple[float, float, float, float]


def tape_of(bars: dict[str, Sequence[Bar]], volume: float = PLENTY) -> Tape:
    candles, listings = {}, {}
    for symbol, rows in bars.items():
        times = START_MS + HOUR_MS * np.arange(len(rows), dtype=np.int64)
        columns = (np.array([row[place] for row in rows], dtype=np.float64) for place in range(4))
        candles[symbol] = Candles(times, *columns, np.full(len(rows), volume))
        base, quote = symbol.split("/")
        listings[symbol] = Listing(symbol, base, quote, Decimal("0.01"), Decimal("0.001"))
    longest = max(len(rows) for rows in bars.values())
    return Tape(Timeframe.H1, candles, listings, START_MS + HOUR_MS, START_MS + HOUR_MS * longest, 1)


class Stage:
    """The engine on a tape whose first bar is history."""

    def __init__(self, tape: Tape, *, deposit: str = "1000", rate: str | None = "0", costs: CostSettings = FREE, folder: Path | None = None) -> None:
        book = ContractBook(folder, tape.hash)
        started = tape.history_until_ms if book.now_ms is None else book.now_ms
        self.clock = MarketClock(started, HOUR_MS, tape.ends_at_ms, 0.0)
        dealing = ContractDealing(tape, costs, book, ContractAccount(tape, book))
        self.market = Perpetuals(dealing, self.clock, Funding(tape.hash, None if rate is None else Decimal(rate)), Decimal(deposit))
        self.told: list[ContractHappening] = []
        self.market.publish = self.told.append
        self.book = book
        self._names = 0

    def close(self, bars: int = 1) -> None:
        for _ in range(bars):
            self.clock.settle(self.clock.settled_ms + HOUR_MS)
            self.market.settle()

    def order(self, side: Side, quantity: str, price: str = "0", **more: object):
        kind = ContractKind.LIMIT if Decimal(price) else ContractKind.MARKET
        life = more.get("life", ContractLife.UNTIL_CANCELLED)
        assert isinstance(life, ContractLife)
        words = (str(more.get("symbol", SYMBOL)), side, kind, life, Decimal(quantity), Decimal(price), bool(more.get("reduces")))
        return self.market.place(ContractTicket(*words, self._name(), kind.value))

    def watch(self, kind: WatchKind, side: Side, quantity: str, trigger: str, **more: object):
        price, callback = Decimal(str(more.get("price", "0"))), Decimal(str(more.get("callback", "0")))
        flags = (bool(more.get("by_mark")), bool(more.get("reduces", True)), bool(more.get("closes")))
        words = (SYMBOL, side, kind, ContractLife.UNTIL_CANCELLED, Decimal(quantity), price, Decimal(trigger), callback)
        return self.market.watch(WatchTicket(*words, *flags, self._name()))

    @property
    def quantity(self) -> Decimal:
        return self.book.ledger.held(SYMBOL).quantity

    @property
    def wallet(self) -> Decimal:
        return self.book.ledger.purse("USDT").wallet

    def _name(self) -> str:
        self._names += 1
        return f"c{self._names}-{len(self.book.orders)}-{len(self.book.watches)}"
