"""Orders, executions and balances in Binance's shapes: REST answers and user-stream events."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from configs.vocabulary import Side
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.fees import COIN, COIN_SHARE
from desk.practice_exchange.ledger import ZERO, Account
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import NO_LIST, Execution, Kind, Order, OrderList
from desk.practice_exchange.terms import Terms

Payload = dict[str, Any]

SELF_TRADE_RULE = "EXPIRE_MAKER"
UID = 1


def side_word(side: Side) -> str:
    """Binance writes sides in capitals."""
    return side.value.upper()


def order_payload(order: Order, listing: Listing) -> Payload:
    """An order as a query answers it."""
    return {
        "symbol": listing.id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": fixed(order.price),
        "origQty": fixed(order.quantity),
        "executedQty": fixed(order.filled),
        "cummulativeQuoteQty": fixed(order.filled_quote),
        "status": order.status.value,
        "timeInForce": order.life.value,
        "type": order.kind.value,
        "side": side_word(order.side),
        "stopPrice": fixed(order.stop_price),
        "icebergQty": fixed(order.iceberg),
        "time": order.accepted_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working,
        "workingTime": order.working_ms,
        "origQuoteOrderQty": fixed(order.quote_quantity),
        "selfTradePreventionMode": SELF_TRADE_RULE,
        **_trailing(order),
    }


def acknowledgement(order: Order, listing: Listing) -> Payload:
    """The shortest answer to a new order."""
    return {
        "symbol": listing.id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": order.updated_ms,
    }


def result(order: Order, listing: Listing) -> Payload:
    """The answer to a new order that says what became of it."""
    return {
        **acknowledgement(order, listing),
        "price": fixed(order.price),
        "origQty": fixed(order.quantity),
        "executedQty": fixed(order.filled),
        "origQuoteOrderQty": fixed(order.quote_quantity),
        "cummulativeQuoteQty": fixed(order.filled_quote),
        "status": order.status.value,
        "timeInForce": order.life.value,
        "type": order.kind.value,
        "side": side_word(order.side),
        "workingTime": order.working_ms,
        "selfTradePreventionMode": SELF_TRADE_RULE,
        **({"stopPrice": fixed(order.stop_price)} if order.stop_price else {}),
        **({"icebergQty": fixed(order.iceberg)} if order.iceberg else {}),
        **_trailing(order),
    }


def full(order: Order, listing: Listing, executions: Iterable[Execution]) -> Payload:
    """The answer to a new order with each execution."""
    fills = [
        {
            "price": fixed(execution.price),
            "qty": fixed(execution.quantity),
            "commission": fixed(execution.commission),
            "commissionAsset": execution.commission_asset,
            "tradeId": execution.id,
        }
        for execution in executions
    ]
    return {**result(order, listing), "fills": fills}


def cancellation(order: Order, listing: Listing, cancel_id: str) -> Payload:
    """The answer to a cancelled order: the cancellation has a client id of its own."""
    answer = {**result(order, listing), "origClientOrderId": order.client_id, "clientOrderId": cancel_id}
    del answer["workingTime"]
    return answer


def list_payload(orders: OrderList, legs: Iterable[Order], listing: Listing) -> Payload:
    """A list of orders as a query answers it."""
    return {
        "orderListId": orders.id,
        "contingencyType": "OCO",
        "listStatusType": "ALL_DONE" if orders.done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if orders.done else "EXECUTING",
        "listClientOrderId": orders.client_id,
        "transactionTime": orders.at_ms,
        "symbol": listing.id,
        "orders": [{"symbol": listing.id, "orderId": leg.id, "clientOrderId": leg.client_id} for leg in legs],
    }


def list_report(orders: OrderList, legs: Iterable[Order], listing: Listing, now_ms: int) -> Payload:
    """The user stream's account of a list of orders."""
    return {
        "e": "listStatus",
        "E": now_ms,
        "s": listing.id,
        "g": orders.id,
        "c": "OCO",
        "l": "ALL_DONE" if orders.done else "EXEC_STARTED",
        "L": "ALL_DONE" if orders.done else "EXECUTING",
        "r": "NONE",
        "C": orders.client_id,
        "T": now_ms,
        "O": [{"s": listing.id, "i": leg.id, "c": leg.client_id} for leg in legs],
    }


def transfer_report(asset: str, amount: Decimal, now_ms: int) -> Payload:
    """The user stream's account of money that came in or went out."""
    return {"e": "balanceUpdate", "E": now_ms, "a": asset, "d": fixed(amount), "T": now_ms}


def trade_payload(execution: Execution, listing: Listing, list_id: int = NO_LIST) -> Payload:
    """An execution of ours as myTrades answers it."""
    return {
        "symbol": listing.id,
        "id": execution.id,
        "orderId": execution.order_id,
        "orderListId": list_id,
        "price": fixed(execution.price),
        "qty": fixed(execution.quantity),
        "quoteQty": fixed(execution.quote),
        "commission": fixed(execution.commission),
        "commissionAsset": execution.commission_asset,
        "time": execution.at_ms,
        "isBuyer": execution.side is Side.BUY,
        "isMaker": execution.maker,
        "isBestMatch": True,
    }


def account_payload(accounts: dict[str, Account], fee_rate: float, terms: Terms, now_ms: int) -> Payload:
    """The account with every balance."""
    basis = round(fee_rate * 10_000)
    rate = fixed(fee_rate)
    return {
        "makerCommission": basis,
        "takerCommission": basis,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": rate, "taker": rate, "buyer": fixed(ZERO), "seller": fixed(ZERO)},
        "canTrade": terms.trading,
        "canWithdraw": terms.withdrawals,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": [{"asset": asset, "free": fixed(account.free), "locked": fixed(account.locked)} for asset, account in sorted(accounts.items())],
        "permissions": ["SPOT"],
        "uid": UID,
    }


def commission_payload(listing: Listing, fee_rate: float, terms: Terms) -> Payload:
    """What trades of a symbol cost."""
    none = dict.fromkeys(("maker", "taker", "buyer", "seller"), fixed(ZERO))
    discount = {"enabledForAccount": terms.burn, "enabledForSymbol": True, "discountAsset": COIN, "discount": fixed(COIN_SHARE)}
    standard = {**none, "maker": fixed(fee_rate), "taker": fixed(fee_rate)}
    return {"symbol": listing.id, "standardCommission": standard, "specialCommission": none, "taxCommission": none, "discount": discount}


def execution_report(order: Order, listing: Listing, what: str, execution: Execution | None, now_ms: int) -> Payload:
    """The user stream's account of one change of an order."""
    limit_price = order.price if order.kind is not Kind.MARKET else ZERO
    trailing = {"d": order.trailing_bips} if order.trailing_bips else {}
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": listing.id,
        "c": order.client_id,
        "S": side_word(order.side),
        "o": order.kind.value,
        "f": order.life.value,
        "q": fixed(order.quantity),
        "p": fixed(limit_price),
        "P": fixed(order.stop_price),
        "F": fixed(order.iceberg),
        "g": order.list_id,
        "C": order.client_id if what == "CANCELED" else "",
        "x": what,
        "X": order.status.value,
        "r": "NONE",
        "i": order.id,
        "l": fixed(execution.quantity if execution else ZERO),
        "z": fixed(order.filled),
        "L": fixed(execution.price if execution else ZERO),
        "n": fixed(execution.commission) if execution else "0",
        "N": execution.commission_asset if execution else None,
        "T": order.updated_ms,
        "t": execution.id if execution else -1,
        "I": order.id,
        "w": order.open and order.working,
        "m": execution.maker if execution else False,
        "M": False,
        "O": order.accepted_ms,
        "Z": fixed(order.filled_quote),
        "Y": fixed(execution.quote if execution else ZERO),
        "Q": fixed(order.quote_quantity),
        "W": order.working_ms,
        "V": SELF_TRADE_RULE,
        **trailing,
    }


def balance_report(accounts: dict[str, Account], assets: Iterable[str], now_ms: int) -> Payload:
    """The user stream's account of changed balances."""
    rows = [{"a": asset, "f": fixed(accounts[asset].free), "l": fixed(accounts[asset].locked)} for asset in assets]
    return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}


def _trailing(order: Order) -> Payload:
    return {"trailingDelta": order.trailing_bips, "trailingTime": order.accepted_ms if order.reference else -1} if order.trailing_bips else {}
