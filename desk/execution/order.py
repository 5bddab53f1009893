"""How an order comes to be: its identity, and the one crossing from whole lots to Decimal."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal

from configs.vocabulary import OrderKind, OrderLife, Side
from desk.events import Order
from desk.instruments import Instrument, price_of, quantity_of

ID_PREFIX = "tw-"
STOP_LEG, FLATTEN_LEG = "stop", "flatten"
_ID_LENGTH = 32  # with the prefix 35 characters: venues allow 36


def order_id(session_id: str, symbol: str, closed_at: datetime, leg: str, attempt: int) -> str:
    """The identity of an order: a pure function of its decision, so that the same decision can never become two orders."""
    text = f"{session_id}|{symbol}|{closed_at.isoformat()}|{leg}|{attempt}"
    return ID_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def order_of(session_id: str, instrument: Instrument, closed_at: datetime, delta_lots: int, close: float) -> Order:
    """The market order that changes a position by `delta_lots` (signed, not 0), decided at `closed_at` on a last price of `close`."""
    side = Side.BUY if delta_lots > 0 else Side.SELL
    identity = order_id(session_id, instrument.symbol, closed_at, side.value, attempt=1)
    return Order(identity, instrument.symbol, side, quantity_of(abs(delta_lots), instrument), closed_at, Decimal(repr(close)))


def stop_of(session_id: str, instrument: Instrument, closed_at: datetime, lots: int, levels: tuple[int, int]) -> Order:
    """The resting stop that closes a position of `lots` (signed, not 0) once the market reaches `levels` in ticks: the stop's, or the gain's (0: none)."""
    ticks, gain = levels
    side = Side.SELL if lots > 0 else Side.BUY
    identity = order_id(session_id, instrument.symbol, closed_at, STOP_LEG, attempt=1)
    price = price_of(ticks, instrument)
    what = (identity, instrument.symbol, side, quantity_of(abs(lots), instrument), closed_at, price)
    taken = price_of(gain, instrument) if gain else None
    return Order(*what, kind=OrderKind.STOP, life=OrderLife.GTC, price=taken, stop_price=price, reduce_only=True)


def flattening(session_id: str, stop: Order, at: datetime) -> Order:
    """The market order that closes at once, at `at`, what a stop could not protect."""
    identity = order_id(session_id, stop.symbol, at, FLATTEN_LEG, attempt=1)
    return Order(identity, stop.symbol, stop.side, stop.quantity, at, stop.reference_price, reduce_only=True)


def slice_id(parent: str, index: int, attempt: int = 1) -> str:
    """The identity of a slice: a pure function of its order's, so that slices need no record of their own to be found again."""
    return ID_PREFIX + hashlib.sha256(f"{parent}|slice-{index}|{attempt}".encode()).hexdigest()[:_ID_LENGTH]
