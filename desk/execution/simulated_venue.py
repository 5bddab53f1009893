"""A venue made of small honest assumptions: orders wait for the next open, take a share of its volume, and pay for the privilege.

Sells settle first; buys that the cash cannot carry are cut pro rata. A market order lives for one bar; what is not filled is gone. Orders that
rest are executed after them, inside the bar, on the path that does us least good (`desk/execution/resting.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from configs.trading import CostSettings, PerpetualSettings
from configs.vocabulary import OrderKind, OrderLife, Side
from desk.costs import charged_rates
from desk.events import Approved, Bar, BarsClosed, Fill, Order
from desk.execution.fills import fill_lots, fill_ticks, impact_share, ration
from desk.execution.perpetual import FORCED, FUNDING, FUNDING_STEP, doomed, funding_units, margined_lots, settlements
from desk.execution.resting import Touch, touch, triggered
from desk.execution.venue import Account, Answer, Outcome
from desk.execution.wire_orders import SLEEPING, broken_numbers
from desk.instruments import Instrument, price_of, quantity_of

_STOPS = (OrderKind.STOP, OrderKind.STOP_LIMIT)


class _Plan(NamedTuple):
    """Whole lots, the price in ticks they pay, and whether they waited for it."""

    lots: int
    ticks: int
    rested: bool = False


@dataclass(frozen=True, slots=True)
class Margin:
    """How contracts are carried: the settings; the last closes of a venue that goes on; funding rates due by (symbol, end of bar), or the settings' one."""

    settings: PerpetualSettings
    closes: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[tuple[str, datetime], float] = field(default_factory=dict)


class SimulatedVenue:
    """Implements `Venue`. Holds its own account, by currency; deterministic: the same orders and bars give the same fills."""

    def __init__(self, instruments: Mapping[str, Instrument], costs: CostSettings, balances: Mapping[str, Decimal], margin: Margin | None = None) -> None:
        self._instruments = dict(instruments)
        self._margin = margin or Margin(PerpetualSettings())
        self._contracts = [symbol for symbol in sorted(instruments) if instruments[symbol].perpetual]
        self._closes = dict(self._margin.closes)
        self._grid = {symbol: (float(each.lot), float(each.tick)) for symbol, each in instruments.items()}
        self._costs = costs
        self._rates = charged_rates(costs)
        self._fee_rate, self._maker_rate = (Decimal(repr(rate)) for rate in self._rates)
        self._balances = dict(balances)
        self._open: dict[str, Order] = {}
        self._trades: dict[str, int] = {}
        self._rested: set[str] = set()
        # Lots of each symbol that this event's bar has filled.
        self._taken: dict[str, int] = {}

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        """Accept every order with sound numbers; one that was seen before is the same order."""
        return tuple(self._accept(approved.order) for approved in orders)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        """Execute what waits at this event's opens, then what its bars reach; orders for one bar whose symbol has none die."""
        self._taken = {}
        bars = {bar.symbol: bar for bar in event.bars}
        filled = self._traded(bars) if self._open else []
        if self._contracts:
            self._closes |= {bar.symbol: bar.close for bar in event.bars}
            filled += self._funded(event)
            filled += self._forced(event.closed_at)
        return tuple(fill for fill in filled if fill is not None)

    def _traded(self, bars: Mapping[str, Bar]) -> list[Fill | None]:
        waiting = sorted(self._open.values(), key=lambda order: order.symbol)
        resting = [order for order in waiting if order.kind is not OrderKind.MARKET]
        orders = [order for order in waiting if order.kind is OrderKind.MARKET and order.symbol in bars]
        self._open = {order.order_id: order for order in resting}
        # What only reduces comes last: it is measured against the position that the others leave.
        coins = [order for order in orders if not order.reduce_only and order.symbol not in self._contracts]
        contracts = [order for order in orders if not order.reduce_only and order.symbol in self._contracts]
        filled = [self._execute(order, bars[order.symbol], None) for order in coins if order.side is Side.SELL]
        filled += self._buy([order for order in coins if order.side is Side.BUY], bars)
        for order in sorted(contracts, key=lambda order: order.side.sign):
            filled.append(self._execute(order, bars[order.symbol], self._margined(order, bars)))
        filled += [self._execute(order, bars[order.symbol], None) for order in orders if order.reduce_only]
        # Stops before limits: what hurts happens first.
        filled += [self._reach(order, bars.get(order.symbol)) for order in sorted(resting, key=lambda order: order.kind not in _STOPS)]
        return filled

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
        wanted = np.array([plan.lots for plan in plans], dtype=np.int64)
        lot_costs = [ticks * self._grid[order.symbol][1] * self._grid[order.symbol][0] for order, (_, ticks, _) in zip(orders, plans, strict=True)]
        unit_costs = np.array(lot_costs, dtype=np.float64) * (1.0 + self._rates.taker)
        cash = self._balances[self._instruments[orders[0].symbol].quote]
        granted = ration(wanted, unit_costs, float(cash))
        return [self._execute(order, bars[order.symbol], _Plan(int(lots), ticks)) for order, lots, (_, ticks, _) in zip(orders, granted, plans, strict=True)]

    def _margined(self, order: Order, bars: Mapping[str, Bar]) -> _Plan:
        """What volume and margin allow of an order for a contract, the account valued at the opens."""
        bar, (lot, _) = bars[order.symbol], self._grid[order.symbol]
        plan = self._plan(order, bar)
        equity, gross = self._worth({**self._closes, **{symbol: each.open for symbol, each in bars.items()}})
        room = self._margin.settings.leverage * equity - gross
        return plan._replace(lots=margined_lots(plan.lots, self._lots(order.symbol), order.side.sign, room, lot * bar.open)) if plan.lots else plan

    def _funded(self, event: BarsClosed) -> list[Fill | None]:
        """Funding of every contract with a bar, as trades of nothing whose fee it is."""
        paid: list[Fill | None] = []
        at, margin = event.closed_at, self._margin
        for bar in event.bars:
            if bar.symbol not in self._contracts:
                continue
            due = margin.settings.funding_rate * float(settlements(at, bar.timeframe.delta.total_seconds()))
            rate = margin.rates.get((bar.symbol, at), 0.0) if margin.rates else due
            units = funding_units(self._lots(bar.symbol) * self._grid[bar.symbol][0], bar.close, rate)
            if units:
                name, quote, amount = f"{FUNDING}{bar.symbol}-{at.isoformat()}", self._instruments[bar.symbol].quote, units * Decimal(FUNDING_STEP)
                self._balances[quote] -= amount
                paid.append(Fill(name, name, bar.symbol, Side.BUY, Decimal(0), Decimal(repr(bar.close)), amount, quote, at))
        return paid

    def _forced(self, at: datetime) -> list[Fill | None]:
        """Every contract closed at its close, dearly, when equity no longer keeps the maintenance margin."""
        equity, gross = self._worth(self._closes)
        if not doomed(equity, gross, self._margin.settings.maintenance):
            return []
        rate = Decimal(repr(self._rates.taker + self._margin.settings.liquidation_fee))
        return [self._close_by_force(symbol, at, rate) for symbol in self._contracts if self._lots(symbol)]

    def _close_by_force(self, symbol: str, at: datetime, rate: Decimal) -> Fill:
        instrument, held, costs = self._instruments[symbol], self._lots(symbol), self._costs
        side, name, quantity = (Side.SELL if held > 0 else Side.BUY), f"{FORCED}{symbol}-{at.isoformat()}", quantity_of(abs(held), instrument)
        price = price_of(fill_ticks(self._closes[symbol], self._grid[symbol][1], side.sign, costs.half_spread_bps, costs.impact_bps, 1.0), instrument)
        return self._booked(Fill(name, name, symbol, side, quantity, price, quantity * price * rate, instrument.quote, at))

    def _worth(self, prices: Mapping[str, float]) -> tuple[float, float]:
        """Equity, and the sum of absolute contract positions, at these prices (quote)."""
        equity, gross = float(self._balances[self._instruments[self._contracts[0]].quote]), 0.0
        for symbol in sorted(self._instruments):
            value = self._lots(symbol) * self._grid[symbol][0] * prices.get(symbol, 0.0)
            equity += value
            gross += abs(value) if symbol in self._contracts else 0.0
        return equity, gross

    def _lots(self, symbol: str) -> int:
        """Signed whole lots held."""
        instrument = self._instruments[symbol]
        return int(self._balances.get(instrument.base, Decimal(0)) / instrument.lot)

    def _booked(self, fill: Fill) -> Fill:
        base, signed = self._instruments[fill.symbol].base, fill.side.sign * fill.quantity
        self._balances[base] = self._balances.get(base, Decimal(0)) + signed
        self._balances[fill.fee_asset] -= signed * fill.price + fill.fee
        return fill

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
        taken = self._taken.get(order.symbol, 0)
        lots = fill_lots(wanted, bar.volume, lot, self._costs.participation_cap, taken)
        if lots == 0 or (order.life is OrderLife.FOK and lots < wanted):
            return _Plan(0, 0)
        # An order's own price is whole ticks: rounding it to one side, a float's last bit would move it by a tick where a price has millions of them.
        sign, limit = order.side.sign, round(at.limit / tick) if at.limit > 0 else 0
        if not at.crosses:
            ticks = round(at.price / tick)
        else:
            share = impact_share(lots, bar.volume, lot, taken)
            ticks = fill_ticks(at.price, tick, sign, self._costs.half_spread_bps, self._costs.impact_bps, share)
        if limit and sign * (ticks - limit) > 0:
            ticks = limit
        return _Plan(self._affordable(order, lots, ticks), ticks, rested=not at.crosses)

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
        return int(ration(np.array([lots]), np.array([ticks * tick * lot * (1.0 + self._rates.taker)]), cash)[0])

    def _execute(self, order: Order, bar: Bar, plan: _Plan | None) -> Fill | None:
        lots, ticks, rested = plan or self._plan(order, bar)
        if lots == 0:
            return None
        self._taken[order.symbol] = self._taken.get(order.symbol, 0) + lots
        instrument = self._instruments[order.symbol]
        quantity, price = quantity_of(lots, instrument), price_of(ticks, instrument)
        fee = quantity * price * (self._maker_rate if rested else self._fee_rate)
        self._trades[order.order_id] += 1
        trade_id = f"{order.order_id}-{self._trades[order.order_id]}"
        return self._booked(Fill(order.order_id, trade_id, order.symbol, order.side, quantity, price, fee, instrument.quote, bar.open_time))
