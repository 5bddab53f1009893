"""Why an order cost something else on the exchange than in the simulation, taken apart so that the parts add up.

For one decision on one symbol: s is +1 for a buy and -1 for a sell, q the quantity executed, p the average price, f the fee (quote), L live and P paper;
m = min(qL, qP). O and C are open and close of the bar after the decision (where the simulation executes), A the last close the market had printed when
the live order executed first, T the live order's best price, h and i the half spread and impact (fractions) that the simulation charges.

    cost(x)  = s (p_x - C) q_x + f_x                        what executing cost against the close; total = cost(L) - cost(P)
    latency  = s m (A - O)                                   the market the order met, against the one that was assumed
    spread   = s m (T - A) - m h O                           from the last price to the best quote, against the assumed half spread
    impact   = s m (pL - T) - m i O                          from the best quote to the average, against the assumed impact
    missed   = s (qL - m)(pL - C) - s (qP - m)(pP - C)       quantity only one of them executed, against the close
    fee      = fL - fP
    residual = total - (latency + spread + impact + missed + fee) = m (O + s (h + i) O - pP) s

The terms in prices telescope from pL to O + s (h + i) O, so that the residual is exactly what the simulation rounds to whole ticks: it is computed
from the total, not set to zero, and below one basis point on any grid worth trading. The idea of naming each leg of the shortfall: Perold (1988).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from configs.trading import CostSettings
from configs.vocabulary import OrderKind, Side
from desk.books.journal import Story
from desk.books.portfolio import fee_in_quote
from desk.costs import trade_cost_fraction
from desk.events import Bar, BarsClosed, Fill
from desk.instruments import Instrument

_BPS = 1e4


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One decision's difference in cost, live less simulated, in basis points of `notional` (quote): positive is dearer on the exchange."""

    symbol: str
    closed_at: datetime
    side: Side
    notional: float
    latency: float
    spread: float
    impact: float
    missed: float
    fee: float
    residual: float

    @property
    def total(self) -> float:
        """The whole difference, bps."""
        return self.latency + self.spread + self.impact + self.missed + self.fee + self.residual


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one order: base quantity, average and best price (nan when nothing was executed), fee in quote, when it executed first."""

    quantity: float
    average: float
    best: float
    fee: float
    first_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scene:
    """The market around one decision: the closed bar it was made on, and the next one (None: there was none)."""

    decided_on: Bar
    next_bar: Bar | None


def discrepancies(
    live: Story, paper: Story, events: Sequence[BarsClosed], instruments: Mapping[str, Instrument], costs: CostSettings
) -> tuple[Discrepancy, ...]:
    """Every market order decided in both runs or in one of them, in time and symbol order; bars are those both were told."""
    ours, theirs = _executions(live, instruments), _executions(paper, instruments)
    scenes, closes = _scenes(events), {(bar.symbol, bar.closed_at): bar.close for event in events for bar in event.bars}
    nothing = Execution(0.0, math.nan, math.nan, 0.0, None)
    found = []
    for symbol, closed_at, side in sorted(ours.keys() | theirs.keys(), key=lambda key: (key[1], key[0])):
        scene = scenes.get((symbol, closed_at))
        pair = ours.get((symbol, closed_at, side), nothing), theirs.get((symbol, closed_at, side), nothing)
        if scene is not None and any(each.quantity for each in pair):
            arrival = _arrival(pair[0], scene, closes)
            found.append(_taken_apart(pair, scene, side, (arrival, costs)))
    return tuple(found)


def _taken_apart(pair: tuple[Execution, Execution], scene: Scene, side: Side, terms: tuple[float, CostSettings]) -> Discrepancy:
    (live, paper), (arrival, costs), sign = pair, terms, side.sign
    bar = scene.next_bar
    opened, closed = (bar.open, bar.close) if bar else (scene.decided_on.close, scene.decided_on.close)
    common = min(live.quantity, paper.quantity)
    participation = paper.quantity / bar.volume if bar and bar.volume > 0 else 0.0
    half_spread = trade_cost_fraction(costs.half_spread_bps, 0.0, participation)
    impact = trade_cost_fraction(0.0, costs.impact_bps, participation)
    latency = spread = moved = 0.0
    if common:
        latency = sign * common * (arrival - opened)
        spread = sign * common * (live.best - arrival) - common * half_spread * opened
        moved = sign * common * (live.average - live.best) - common * impact * opened
    missed = sign * (_beyond(live, common, closed) - _beyond(paper, common, closed))
    fee = live.fee - paper.fee
    total = sign * (_beyond(live, 0.0, closed) - _beyond(paper, 0.0, closed)) + fee
    notional = max(live.quantity, paper.quantity) * opened
    parts = (latency, spread, moved, missed, fee)
    scaled = [part / notional * _BPS for part in (*parts, total - sum(parts))]
    return Discrepancy(scene.decided_on.symbol, scene.decided_on.closed_at, side, notional, *scaled)


def _beyond(execution: Execution, common: float, closed: float) -> float:
    """What the quantity beyond `common` was executed at, against the close."""
    extra = execution.quantity - common
    return extra * (execution.average - closed) if extra else 0.0


def _arrival(live: Execution, scene: Scene, closes: Mapping[tuple[str, datetime], float]) -> float:
    """The last close that was printed when the live order first executed: orders that are late meet a later one."""
    symbol, at, delta = scene.decided_on.symbol, scene.decided_on.closed_at, scene.decided_on.timeframe.delta
    if live.first_at is not None:
        whole = (live.first_at - at) // delta
        for bars in range(whole, 0, -1):
            if (symbol, at + bars * delta) in closes:
                return closes[symbol, at + bars * delta]
    return scene.decided_on.close


def _scenes(events: Sequence[BarsClosed]) -> dict[tuple[str, datetime], Scene]:
    scenes: dict[tuple[str, datetime], Scene] = {}
    before: dict[str, Bar] = {}
    for event in events:
        for bar in event.bars:
            last = before.get(bar.symbol)
            # An order lives for the next event only; a bar that comes later is not its.
            if last is not None and last.closed_at == bar.open_time:
                scenes[bar.symbol, last.closed_at] = Scene(last, bar)
            scenes[bar.symbol, bar.closed_at] = Scene(bar, None)
            before[bar.symbol] = bar
    return scenes


def _executions(story: Story, instruments: Mapping[str, Instrument]) -> dict[tuple[str, datetime, Side], Execution]:
    """Every market order approved, with what the journal knows of its fills."""
    found = [fill for step in story.steps for fill in step.fills] + [fill for fills in story.settled.values() for fill in fills]
    by_order: dict[str, dict[str, Fill]] = {}
    for fill in found:
        by_order.setdefault(fill.order_id, {})[fill.trade_id] = fill
    orders = [each.order for step in story.steps for each in step.approved if each.order.kind is OrderKind.MARKET]
    return {
        (order.symbol, order.decided_at, order.side): _execution(list(by_order.get(order.order_id, {}).values()), instruments[order.symbol]) for order in orders
    }


def _execution(fills: Sequence[Fill], instrument: Instrument) -> Execution:
    if not fills:
        return Execution(0.0, math.nan, math.nan, 0.0, None)
    quantity = sum(fill.quantity for fill in fills)
    average = float(sum(fill.quantity * fill.price for fill in fills) / quantity)
    prices = [float(fill.price) for fill in fills]
    best = min(prices) if fills[0].side is Side.BUY else max(prices)
    return Execution(float(quantity), average, best, sum(_fee(fill, instrument) for fill in fills), min(fill.at for fill in fills))


def _fee(fill: Fill, instrument: Instrument) -> float:
    """In quote. A fee in a third asset of which no price was known is nan."""
    worth = fee_in_quote(fill, instrument)
    return math.nan if worth is None else float(worth)
