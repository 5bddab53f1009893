"""From a wanted weight to a whole number of lots. Plain arithmetic: session and kernel share this very function."""

from __future__ import annotations

from desk.instruments import lots_of


def fixed_lots(units: float, position_lots: int, close: float, lot: float, min_notional: float) -> int:
    """Signed lots to trade so that the position becomes `units` (base, negative is short), rounded to whole lots toward zero; 0 is no order.

    `close` (> 0) and `min_notional` in quote, `lot` in base units. No order when it is worth less than `min_notional`.
    """
    size = lots_of(abs(units), lot)
    delta_lots = (size if units > 0 else -size) - position_lots
    if abs(delta_lots) * lot * close < min_notional:
        return 0
    return delta_lots


def order_lots(weight: float, position_lots: int, equity: float, close: float, lot: float, min_notional: float, band: float) -> int:
    """Signed lots to trade so that the position becomes `weight` (fraction of `equity`, negative is short); 0 is no order.

    `equity`, `close` (> 0) and `min_notional` in quote, `lot` in base units. No order when the weight would move by less than `band`
    (flat is always reached), or when the order is worth less than `min_notional`. Without equity only flat can be held. NaN: the caller
    places no order and does not ask.
    """
    target_lots = 0
    if weight != 0 and equity > 0:
        if abs(weight - position_lots * lot * close / equity) < band:
            return 0
        size = lots_of(abs(weight) * equity / close, lot)
        target_lots = size if weight > 0 else -size
    delta_lots = target_lots - position_lots
    if abs(delta_lots) * lot * close < min_notional:
        return 0
    return delta_lots
