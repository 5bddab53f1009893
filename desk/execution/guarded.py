"""A ccxt exchange object behind circuit breakers: it counts what failed, and leaves an exchange alone that does not answer.

Only what says something about the other side counts: no answer, or "not now". A refusal is an answer. Questions about our own orders, and
cancellations, are counted but never held back: an order in doubt is worse than one call too many. Orders are held back before they are
sent, by whoever asks `Breaker.refusal`, so that nobody has to wonder what became of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desk.risk.breaker import Breaker

_ORDERS = ("create_order", "cancel_order")
_ALWAYS = ("fetch_order", "fetch_open_orders", "fetch_my_trades")


class GuardedExchange:
    """Behaves like the exchange it wraps. Without `orders` the order calls are counted nowhere."""

    __slots__ = ("_exchange", "_orders", "_reads")

    def __init__(self, exchange: Any, reads: Breaker, orders: Breaker | None = None) -> None:
        object.__setattr__(self, "_exchange", exchange)
        object.__setattr__(self, "_reads", reads)
        object.__setattr__(self, "_orders", orders)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._exchange, name)
        if name in _ORDERS:
            return value if self._orders is None else _counted(value, self._orders, held_back=False)
        if name.startswith(("fetch_", "load_")) and callable(value):
            return _counted(value, self._reads, held_back=name not in _ALWAYS)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._exchange, name, value)


def _counted(call: Callable[..., Any], breaker: Breaker, *, held_back: bool) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        import ccxt

        refusal = breaker.refusal() if held_back else ""
        if refusal:
            raise ccxt.ExchangeNotAvailable(refusal)
        try:
            answer = call(*arguments, **named)
        except ccxt.NetworkError as error:
            breaker.failed(f"{type(error).__name__}: {error}")
            raise
        except ccxt.BaseError:
            breaker.succeeded()
            raise
        breaker.succeeded()
        return answer

    return counted
