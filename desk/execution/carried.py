"""What a bar's volume left of an order, to be sent again at the next close while the wish is the same (`trading.carry_partials`).

The rest of an order dies with its bar like everything of it; what goes on is the intention, judged again by every guard.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from configs.vocabulary import OrderKind
from desk.events import Approved, Fill, Order, Target
from desk.instruments import Instrument


@dataclass(slots=True)
class Carried:
    """The market orders of the last step, by symbol; none are remembered unless `enabled`."""

    instruments: Mapping[str, Instrument]
    enabled: bool
    orders: dict[str, Order] = field(default_factory=dict)

    def sent(self, approved: Iterable[Approved]) -> None:
        """These orders are the last step's."""
        if self.enabled:
            self.orders = {each.order.symbol: each.order for each in approved if each.order.kind is OrderKind.MARKET}

    def rests(self, fills: Sequence[Fill], closed: Collection[str]) -> dict[str, int]:
        """Signed lots that the last step's orders lack after these fills; none of the symbols whose position was `closed` otherwise meanwhile."""
        lacking = {symbol: order.quantity for symbol, order in self.orders.items() if symbol not in closed}
        for fill in fills:
            if fill.symbol in lacking and fill.order_id == self.orders[fill.symbol].order_id:
                lacking[fill.symbol] -= fill.quantity
        return {symbol: self.orders[symbol].side.sign * int(left / self.instruments[symbol].lot) for symbol, left in lacking.items()}


def unchanged(target: Target, before: float) -> bool:
    """Whether a target wants what was wanted `before`, or has no opinion."""
    return math.isnan(target.exposure) or target.exposure == before
