"""Orders in ccxt's words, and ccxt's answers in ours. Nothing here asks anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from configs.vocabulary import OrderKind, OrderLife, Side
from desk.errors import NotFinite
from desk.events import Fill, Order
from desk.instruments import Instrument

TERMINAL = ("closed", "canceled", "expired", "rejected")
PRICED = (OrderKind.LIMIT, OrderKind.POST_ONLY, OrderKind.STOP_LIMIT)
SLEEPING = (OrderKind.STOP, OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT)
_TIME_IN_FORCE = {OrderLife.BAR: "GTC", OrderLife.GTC: "GTC", OrderLife.IOC: "IOC", OrderLife.FOK: "FOK"}


class Arguments(NamedTuple):
    """The arguments of ccxt's create_order, amounts and prices as text so that no float rounds them."""

    symbol: str
    type: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]


def broken_numbers(order: Order) -> str:
    """Why the numbers of an order must never reach a wire; empty when they may. A limit without a price is no market order."""
    wanted: dict[str, Decimal | None] = {"quantity": order.quantity}
    if order.kind in PRICED:
        wanted["price"] = order.price
    if order.kind in SLEEPING:
        wanted["stop price"] = order.stop_price
    for name, number in wanted.items():
        if not isinstance(number, Decimal) or not number.is_finite() or number <= 0:
            return f"{name} {number} is not a positive number"
    return ""


def unfollowable(order: Order) -> str:
    """Why an order could not be found again once it is sent; empty when it could. The exchange keeps conditional orders of contracts in another book,
    under other ids, and what they become is an order without ours.
    """
    if ":" in order.symbol and order.kind in SLEEPING:
        return f"a {order.kind} of {order.symbol} cannot be followed: conditional orders of contracts are in a book of their own"
    return ""


def arguments_of(order: Order) -> Arguments:
    """How ccxt is told of an order, spot or perpetual."""
    # No price on market orders: with one, ccxt turns a market buy into an amount of quote currency.
    params: dict[str, Any] = {"newClientOrderId": order.order_id}
    price = str(order.price) if order.kind in PRICED else None
    if order.kind is OrderKind.POST_ONLY:
        params["postOnly"] = True
    elif price is not None:
        params["timeInForce"] = _TIME_IN_FORCE[order.life]
    if order.kind in (OrderKind.STOP, OrderKind.STOP_LIMIT):
        params["stopLossPrice"] = str(order.stop_price)
    elif order.kind is OrderKind.TAKE_PROFIT:
        params["takeProfitPrice"] = str(order.stop_price)
    if order.reduce_only and ":" in order.symbol:
        params["reduceOnly"] = True  # spot knows no such word: there the quantity is cut to what is held
    return Arguments(order.symbol, "limit" if price is not None else "market", order.side.value, str(order.quantity), price, params)


def number(value: Any, what: str) -> Decimal:
    """A number of an answer as Decimal, exact; `NotFinite` when it is missing or none."""
    if value is None:
        raise NotFinite(f"expected {what} in the exchange's answer, found nothing: ask again")
    found = Decimal(str(value))
    if not found.is_finite():
        raise NotFinite(f"expected {what} in the exchange's answer, found {value}: ask again")
    return found


def order_found(order_id: str, symbol: str, found: Mapping[str, Any]) -> Order:
    """An order as the exchange remembers it: enough to follow it to its end. Its kind decides whether it rests or ends by itself."""
    at = datetime.fromtimestamp((found.get("timestamp") or 0) / 1000, UTC)
    quantity, stop, price = number(found["amount"], "the quantity"), found.get("stopPrice") or found.get("triggerPrice"), found.get("price")
    limited = found.get("type") == "limit" or "limit" in str(found.get("type"))
    kind = OrderKind.LIMIT if limited else OrderKind.MARKET
    if stop:
        kind = OrderKind.STOP_LIMIT if limited else OrderKind.STOP
    life = OrderLife.GTC if stop else OrderLife.BAR
    exact = Decimal(str(stop)) if stop else None
    limit = Decimal(str(price)) if limited and price else None
    return Order(order_id, symbol, Side(found["side"]), quantity, at, limit or exact or Decimal(0), kind, life, limit, exact)


def fill_of(order_id: str, instrument: Instrument, trade: Mapping[str, Any]) -> Fill:
    """One trade of an order; a trade without a fee cost none."""
    fee = trade.get("fee") or {}
    asset = fee.get("currency") or instrument.quote
    amounts = number(trade["amount"], "a trade's amount"), number(trade["price"], "a trade's price"), number(fee.get("cost") or 0, "a fee")
    at = datetime.fromtimestamp(trade["timestamp"] / 1000, UTC)
    return Fill(order_id, str(trade["id"]), instrument.symbol, Side(trade["side"]), *amounts, str(asset), at)
