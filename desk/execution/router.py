"""How a large order is sent: whole, or in slices, whichever is expected to cost least by fee, spread and impact.

The costs are in basis points of notional. Impact is read from the visible book; a slice is assumed to meet a book that has refilled since
the slice before. What the book cannot answer is not guessed: the order then goes out whole, as a market order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from configs.trading import ExecutionSettings
from configs.vocabulary import Route
from desk.events import Order
from desk.execution.liquidity import BASIS_POINT, BookView
from desk.instruments import Instrument

# A market order cannot fill for less than nothing: below this a slice is not worth its request.
_FEWEST_SLICES = 2


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an order: how much (base, on the grid), how many seconds after the one before, and whether it rests at the touch first."""

    quantity: Decimal
    wait_s: float
    passive: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How an order goes out. `cost_bps` is what it is expected to cost, nan when nobody knows."""

    route: Route
    slices: tuple[Slice, ...]
    cost_bps: float


def plan(order: Order, instrument: Instrument, view: BookView, rules: ExecutionSettings, volumes: Sequence[float] = ()) -> Plan:
    """The route for `order`. `volumes`: what the market traded in each of the last minutes, for VWAP; empty is evenly.

    Only orders of at least `rules.route_above` (quote) are looked at. A route by name is taken when it can be; `auto` takes the cheapest,
    and of two that cost the same the simpler one.
    """
    whole = Plan(Route.MARKET, (Slice(order.quantity, 0.0),), _market_cost(order, view, rules, 1))
    notional = float(order.quantity * order.reference_price)
    if rules.route is Route.MARKET or notional < rules.route_above or not view.usable:
        return whole
    wanted = (Route.TWAP, Route.VWAP, Route.POV, Route.ICEBERG) if rules.route is Route.AUTO else (rules.route,)
    plans = [_sliced(route, order, instrument, (view, rules, volumes)) for route in wanted]
    known = [each for each in plans if each is not None and not math.isnan(each.cost_bps)]
    if not known:
        return whole
    if rules.route is not Route.AUTO:
        return known[0]
    return min([whole, *known], key=lambda each: math.inf if math.isnan(each.cost_bps) else each.cost_bps)


def capped(quantity: Decimal, order: Order, instrument: Instrument, view: BookView, rules: ExecutionSettings) -> Decimal:
    """`quantity` (base), at most the share `rules.depth_share` of what the book shows within `rules.depth_bps`; unchanged when it shows nothing."""
    depth = view.depth(order.side, rules.depth_bps)
    if rules.depth_share == 0 or math.isnan(depth):
        return quantity
    return min(quantity, whole_lots(Decimal(repr(rules.depth_share * depth)), instrument))


def whole_lots(quantity: Decimal, instrument: Instrument) -> Decimal:
    """`quantity` (base) rounded down to the grid."""
    return quantity // instrument.lot * instrument.lot


def _sliced(route: Route, order: Order, instrument: Instrument, seen: tuple[BookView, ExecutionSettings, Sequence[float]]) -> Plan | None:
    view, rules, volumes = seen
    weights = _weights(volumes, rules.slices) if route is Route.VWAP else [1.0] * rules.slices
    parts = _parts(order, instrument, weights)
    if len(parts) < _FEWEST_SLICES:
        return None
    passive = route is Route.ICEBERG
    slices = tuple(Slice(part, rules.slice_seconds if index else 0.0, passive) for index, part in enumerate(parts))
    largest = float(max(parts) / order.quantity)
    crossing = _market_cost(order, view, rules, largest)
    return Plan(route, slices, _passive_cost(crossing, view, rules) if passive else crossing)


def _weights(volumes: Sequence[float], slices: int) -> list[float]:
    """Shares of the slices: what the market traded in the minutes behind us stands for those to come."""
    if len(volumes) < slices or not sum(volumes[-slices:]) > 0:
        return [1.0] * slices
    return list(volumes[-slices:])


def _parts(order: Order, instrument: Instrument, weights: Sequence[float]) -> list[Decimal]:
    """Whole lots in the proportion of `weights`, every part worth the least notional; what rounding leaves goes to the last."""
    total, parts, left = sum(weights), list[Decimal](), order.quantity
    for weight in weights[:-1]:
        part = whole_lots(order.quantity * Decimal(repr(weight / total)), instrument)
        enough = part * order.reference_price >= instrument.min_notional and (left - part) * order.reference_price >= instrument.min_notional
        if part > 0 and enough:
            parts.append(part)
            left -= part
    return [*parts, left]


def _market_cost(order: Order, view: BookView, rules: ExecutionSettings, share: float) -> float:
    """Fee, spread and impact of taking `share` of the order from the book at once; nan when the book cannot say."""
    return rules.taker_fee / BASIS_POINT + view.impact_bps(order.side, float(order.quantity) * share)


def _passive_cost(crossing: float, view: BookView, rules: ExecutionSettings) -> float:
    """Half the spread earned at the maker's fee for the share that fills at the touch; the rest crosses after all."""
    earned = rules.maker_fee / BASIS_POINT - view.half_spread_bps
    return rules.passive_share * earned + (1 - rules.passive_share) * crossing
