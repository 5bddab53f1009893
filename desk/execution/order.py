"""How an order comes to be: its identity, and the one crossing from whole lots to Decimal."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal

from configs.vocabulary import Side
from desk.events import Order
from desk.instruments import Instrument, quantity_of

ID_PREFIX = "tw-"
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
