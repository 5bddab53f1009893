"""A venue made of small honest assumptions: orders wait for the next open, take a share of its volume, and pay for the privilege.

Sells settle first; buys that the cash cannot carry are cut pro rata. An order lives for one bar; what is not filled is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import numpy as np

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.execution.fills import fill_lots, fill_ticks, ration
from desk.execution.venue import Account, Answer, Outcome
from desk.instruments import Instrument, price_of, quantity_of


class SimulatedVenue:
    """Implements `Venue`. Holds its own account, by currency; deterministic: the same orders and bars give the same fills."""

    def __init__(self, instruments: Mapping[str, Instrument], costs: CostSettings, balances: Mapping[str, Decimal]) -> None:
        self._instruments = dict(instruments)
        self._grid = {symbol: (float(each.lot), float(each.tick)) for symbol, each in instruments.items()}
        self._costs = costs
        self._fee_rate = Decimal(repr(costs.fee_rate))
        self._balances = dict(balances)
        self._open: dict[str, Order] = {}
        self._known: set[str] = set()

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Accept every order; one that was seen before is the same order."""
        for approved in orders:
            if approved.order.order_id not in self._known:
                self._known.add(approved.order.order_id)
                self._open[approved.order.order_id] = approved.order
        return tuple(Answer(approved.order.order_id, Outcome.CONFIRMED) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Execute what waits at this event's opens; orders of symbols without a bar die."""
        if not self._open:
            return ()
        bars = {bar.symbol: bar for bar in event.bars}
        orders = sorted((order for order in self._open.values() if order.symbol in bars), key=lambda order: order.symbol)
        self._open.clear()
        sells = [self._execute(order, bars[order.symbol], None) for order in orders if order.side is Side.SELL]
        buys = [order for order in orders if order.side is Side.BUY]
        filled = sells + self._buy(buys, bars)
        return tuple(fill for fill in filled if fill is not None)

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Nothing is ever in doubt here: the order arrived, or it did not."""
        if order_id in self._known:
            return Answer(order_id, Outcome.CONFIRMED)
        return Answer(order_id, Outcome.REJECTED, "never arrived")

    def cancel_open(self, at: datetime) -> None:
        """Forget every waiting order."""
        self._open.clear()

    def account(self) -> Account:
        """Balances after the last event, and what waits for the next."""
        return Account(dict(self._balances), tuple(self._open))

    def _buy(self, orders: Sequence[Order], bars: Mapping[str, Bar]) -> list[Fill | None]:
        if not orders:
            return []
        plans = [self._plan(order, bars[order.symbol]) for order in orders]
        wanted = np.array([lots for lots, _ in plans], dtype=np.int64)
        lot_costs = [ticks * self._grid[order.symbol][1] * self._grid[order.symbol][0] for order, (_, ticks) in zip(orders, plans, strict=True)]
        unit_costs = np.array(lot_costs, dtype=np.float64) * (1.0 + self._costs.fee_rate)
        cash = self._balances[self._instruments[orders[0].symbol].quote]
        granted = ration(wanted, unit_costs, float(cash))
        return [self._execute(order, bars[order.symbol], (int(lots), ticks)) for order, lots, (_, ticks) in zip(orders, granted, plans, strict=True)]

    def _plan(self, order: Order, bar: Bar) -> tuple[int, int]:
        """Whole lots the bar's volume allows, and the price in ticks they pay."""
        lot, tick = self._grid[order.symbol]
        wanted = int(order.quantity / self._instruments[order.symbol].lot)
        lots = fill_lots(wanted, bar.volume, lot, self._costs.participation_cap)
        if lots == 0:
            return 0, 0
        participation = lots * lot / bar.volume
        return lots, fill_ticks(bar.open, tick, order.side.sign, self._costs.half_spread_bps, self._costs.impact_bps, participation)

    def _execute(self, order: Order, bar: Bar, plan: tuple[int, int] | None) -> Fill | None:
        lots, ticks = plan or self._plan(order, bar)
        if lots == 0:
            return None
        instrument = self._instruments[order.symbol]
        quantity, price = quantity_of(lots, instrument), price_of(ticks, instrument)
        fee = quantity * price * self._fee_rate
        self._balances[instrument.base] = self._balances.get(instrument.base, Decimal(0)) + order.side.sign * quantity
        self._balances[instrument.quote] -= order.side.sign * quantity * price + fee
        return Fill(order.order_id, f"{order.order_id}-1", order.symbol, order.side, quantity, price, fee, instrument.quote, bar.open_time)
