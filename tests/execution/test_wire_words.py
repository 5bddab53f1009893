"""Orders in ccxt's words, kind by kind, and numbers that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from configs.vocabulary import OrderKind, OrderLife, Side
from desk.errors import NotFinite
from desk.events import Order
from desk.execution.wire_orders import SLEEPING, arguments_of, broken_numbers, number, unfollowable

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def order(kind: OrderKind, symbol: str = "BTC/USDT", **more: Any) -> Order:
    return Order("tw-1", symbol, Side.SELL, Decimal("0.5"), NOON, Decimal(100), kind, OrderLife.GTC, **more)


def test_each_kind_has_its_own_words() -> None:
    priced = {"price": Decimal(101)}
    post = arguments_of(order(OrderKind.POST_ONLY, **priced))
    stop = arguments_of(order(OrderKind.STOP, stop_price=Decimal(90)))
    profit = arguments_of(order(OrderKind.TAKE_PROFIT, stop_price=Decimal(120)))
    contract = arguments_of(order(OrderKind.MARKET, "BTC/USDT:USDT", reduce_only=True))

    assert ("limit", "101", True) == (post.type, post.price, post.params["postOnly"])
    assert ("market", "90") == (stop.type, stop.params["stopLossPrice"])
    assert "120" == profit.params["takeProfitPrice"]
    assert contract.params["reduceOnly"] is True


@pytest.mark.parametrize("kind", [OrderKind.LIMIT, OrderKind.STOP])
def test_a_missing_price_is_named(kind: OrderKind) -> None:
    assert "is not a positive number" in broken_numbers(order(kind))


@pytest.mark.parametrize("kind", list(OrderKind))
def test_only_conditional_orders_of_contracts_cannot_be_followed(kind: OrderKind) -> None:
    assert (kind in SLEEPING) == bool(unfollowable(order(kind, "BTC/USDT:USDT")))
    assert "" == unfollowable(order(kind))


@pytest.mark.parametrize("value", [None, "NaN", "Infinity"])
def test_a_number_that_is_none_is_refused(value: str | None) -> None:
    with pytest.raises(NotFinite, match="ask again"):
        number(value, "a fee")
