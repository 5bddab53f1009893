"""A venue made of small honest assumptions: orders wait for the next open, take a share of its volume, and pay for the privilege.

Sells settle first; buys that the cash cannot carry are cut pro rata. A market order lives for one bar; what is not filled is gone. Orders that
rest are executed after them, inside the bar, on the path that does us least good (`desk/execution/resting.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from configs.trading import CostSettings
from configs.vocabulary import OrderKind, OrderLife, Side
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.execution.fills import fill_lots, fill_ticks, ration
from desk.execution.resting import Touch, touch, triggered
from desk.execution.venue import Account, Answer, Outcome
from desk.execution.wire_orders import SLEEPING, broken_numbers
from desk.instruments import Instrument, price_of, quantity_of, ticks_of

_STOPS = (OrderKind.STOP, OrderKind.STOP_LIMIT)


class _Plan(NamedTuple):
    """Whole lots, and the price in ticks they pay."""

    lots: int
    ticks: int


class SimulatedVenue:
    """Implements `Venue`. Holds its own account, by currency; deterministic: the same orders and bars give the same fills."""

    def __init__(self, instruments: Mapping[str, Instrument], costs: CostSettings, balances: Mapping[str, Decimal]) -> None:
        self._instruments = dict(instruments)
        self._grid = {symbol: (float(each.lot), float(each.tick)) for symbol, each in instruments.items()}
        self._costs = costs
        self._fee_rate = Decimal(repr(costs.fee_rate))
        self._balances = dict(balances)
        self._open: dict[str, Order] = {}
        self._trades: dict[str, int] = {}
        self._rested: set[str] = set()

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Accept every order with sound numbers; one that was seen before is the same order."""
        return tuple(self._accept(approved.order) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Execute what waits at this event's opens, then what its bars reach; orders for one bar whose symbol has none die."""
        if not self._open:
            return ()
        bars = {bar.symbol: bar for bar in event.bars}
        waiting = sorted(self._open.values(), key=lambda order: order.symbol)
        resting = [order for order in waiting if order.kind is not OrderKind.MARKET]
        orders = [order for order in waiting if order.kind is OrderKind.MARKET and order.symbol in bars]
        self._open = {order.order_id: order for order in resting}
        # What only reduces comes last: it is measured against the position that the others leave.
        sells = [self._execute(order, bars[order.symbol], None) for order in orders if order.side is Side.SELL and not order.reduce_only]
        buys = [order for order in orders if order.side is Side.BUY and not order.reduce_only]
        filled = sells + self._buy(buys, bars)
        filled += [self._execute(order, bars[order.symbol], None) for order in orders if order.reduce_only]
        # Stops before limits: what hurts happens first.
        filled += [self._reach(order, bars.get(order.symbol)) for order in sorted(resting, key=lambda order: order.kind not in _STOPS)]
        return tuple(fill for fill in filled if fill is not None)

    def resolve(self, order_id: str, symbol: str) -> Answer:
        """Nothing is ever in doubt here: the order arrived, or it did not."""
        if order_id in self._trades:
            return Answer(order_id, Outcome.CONFIRMED)
        return Answer(order_id, Outcome.REJECTED, "never arrived")

    def cancel(self, order_id: str, symbol: str) -> Answer:
        """Forget one waiting order; nothing executes between two events, so there is no race to lose."""
        ended = "cancelled" if self._open.pop(order_id, None) else "ended before"
        return Answer(order_id, Outcome.CONFIRMED, ended)

    def cancel_open(self, at: datetime) -> None:
        """Forget every waiting order."""
        self._open.clear()

    def account(self) -> Account:
        """Balances after the last event, and what waits for the next."""
        return Account(dict(self._balances), tuple(self._open))

    def _accept(self, order: Order) -> Answer:
        if order.order_id not in self._trades:
            broken = broken_numbers(order)
            if broken:
                return Answer(order.order_id, Outcome.REJECTED, broken)
            self._trades[order.order_id] = 0
            self._open[order.order_id] = order
        return Answer(order.order_id, Outcome.CONFIRMED)

    def _buy(self, orders: Sequence[Order], bars: Mapping[str, Bar]) -> list[Fill | None]:
        if not orders:
            return []
        plans = [self._plan(order, bars[order.symbol]) for order in orders]
        wanted = np.array([lots for lots, _ in plans], dtype=np.int64)
        lot_costs = [ticks * self._grid[order.symbol][1] * self._grid[order.symbol][0] for order, (_, ticks) in zip(orders, plans, strict=True)]
        unit_costs = np.array(lot_costs, dtype=np.float64) * (1.0 + self._costs.fee_rate)
        cash = self._balances[self._instruments[orders[0].symbol].quote]
        granted = ration(wanted, unit_costs, float(cash))
        return [self._execute(order, bars[order.symbol], _Plan(int(lots), ticks)) for order, lots, (_, ticks) in zip(orders, granted, plans, strict=True)]

    def _reach(self, order: Order, bar: Bar | None) -> Fill | None:
        """Execute a resting order if the bar reaches it, and decide whether it rests on."""
        if bar is None:
            if order.life is not OrderLife.GTC:
                del self._open[order.order_id]
            return None
        reached = touch(order, bar, rested=order.order_id in self._rested)
        fill = self._execute(order, bar, self._plan_at(order, bar, reached)) if reached else None
        left = order.quantity - (fill.quantity if fill else Decimal(0))
        refused = order.kind is OrderKind.POST_ONLY and order.order_id not in self._rested and order.side.sign * (float(order.price or 0) - bar.open) >= 0
        if left <= 0 or order.life is not OrderLife.GTC or refused:
            del self._open[order.order_id]
            return fill
        became_limit = triggered(order, bar)
        self._open[order.order_id] = replace(order, quantity=left, kind=OrderKind.LIMIT if became_limit else order.kind)
        if became_limit or order.kind not in SLEEPING:
            self._rested.add(order.order_id)
        return fill

    def _plan(self, order: Order, bar: Bar) -> _Plan:
        """What the bar's volume allows of a market order, at its open."""
        return self._plan_at(order, bar, Touch(bar.open, crosses=True))

    def _plan_at(self, order: Order, bar: Bar, at: Touch) -> _Plan:
        lot, tick = self._grid[order.symbol]
        wanted = int(self._reducible(order) / self._instruments[order.symbol].lot)
        lots = fill_lots(wanted, bar.volume, lot, self._costs.participation_cap)
        if lots == 0 or (order.life is OrderLife.FOK and lots < wanted):
            return _Plan(0, 0)
        sign, limit = order.side.sign, ticks_of(at.limit, tick, -order.side.sign) if at.limit > 0 else 0
        if not at.crosses:
            ticks = ticks_of(at.price, tick, sign)
        else:
            ticks = fill_ticks(at.price, tick, sign, self._costs.half_spread_bps, self._costs.impact_bps, lots * lot / bar.volume)
        if limit and sign * (ticks - limit) > 0:
            ticks = limit
        return _Plan(self._affordable(order, lots, ticks), ticks)

    def _reducible(self, order: Order) -> Decimal:
        """What a reducing order may still execute: no more than is held on the other side."""
        if not order.reduce_only:
            return order.quantity
        held = -order.side.sign * self._balances.get(self._instruments[order.symbol].base, Decimal(0))
        return max(min(order.quantity, held), Decimal(0))

    def _affordable(self, order: Order, lots: int, ticks: int) -> int:
        """Market buys are rationed together; a resting one takes what the cash allows."""
        if order.kind is OrderKind.MARKET or order.side is Side.SELL or order.reduce_only:
            return lots
        lot, tick = self._grid[order.symbol]
        cash = float(self._balances[self._instruments[order.symbol].quote])
        return int(ration(np.array([lots]), np.array([ticks * tick * lot * (1.0 + self._costs.fee_rate)]), cash)[0])

    def _execute(self, order: Order, bar: Bar, plan: _Plan | None) -> Fill | None:
        lots, ticks = plan or self._plan(order, bar)
        if lots == 0:
            return None
        instrument = self._instruments[order.symbol]
        quantity, price = quantity_of(lots, instrument), price_of(ticks, instrument)
        fee = quantity * price * self._fee_rate
        self._balances[instrument.base] = self._balances.get(instrument.base, Decimal(0)) + order.side.sign * quantity
        self._balances[instrument.quote] -= order.side.sign * quantity * price + fee
        self._trades[order.order_id] += 1
        trade_id = f"{order.order_id}-{self._trades[order.order_id]}"
        return Fill(order.order_id, trade_id, order.symbol, order.side, quantity, price, fee, instrument.quote, bar.open_time)
