"""Contract orders, fills, positions and balances in Binance's USD-M shapes: REST answers and user-stream events."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from configs.vocabulary import Side
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.orders import side_word
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.margin import largest_notional
from desk.practice_exchange.perpetual_account import Holding, Standing
from desk.practice_exchange.perpetual_book import ContractOrderChanged
from desk.practice_exchange.perpetual_ledger import Position, Purse
from desk.practice_exchange.perpetual_orders import ContractFill, ContractOrder, Income, Watch, WatchKind

Payload = dict[str, Any]

ONE_WAY, CONTRACT_PRICE, MARK_PRICE, NO_RULE = "BOTH", "CONTRACT_PRICE", "MARK_PRICE", "NONE"


def order_payload(order: ContractOrder, listing: Listing) -> Payload:
    """An order as a query answers it."""
    return {
        "orderId": order.id,
        "symbol": listing.id,
        "status": order.status.value,
        "clientOrderId": order.client_id,
        "price": fixed(order.price),
        "avgPrice": fixed(order.average),
        "origQty": fixed(order.quantity),
        "executedQty": fixed(order.filled),
        "cumQuote": fixed(order.worth),
        "timeInForce": order.life.value,
        "type": order.kind.value,
        "reduceOnly": order.reduces,
        "closePosition": order.closes,
        "side": side_word(order.side),
        "positionSide": ONE_WAY,
        "stopPrice": fixed(ZERO),
        "workingType": CONTRACT_PRICE,
        "priceProtect": False,
        "origType": order.origin,
        "priceMatch": NO_RULE,
        "selfTradePreventionMode": NO_RULE,
        "goodTillDate": 0,
        "time": order.accepted_ms,
        "updateTime": order.updated_ms,
    }


def answer_payload(order: ContractOrder, listing: Listing) -> Payload:
    """An order as a new, changed or cancelled one is answered: with `cumQty` and without its birth."""
    payload = {**order_payload(order, listing), "cumQty": fixed(order.filled)}
    del payload["time"]
    return payload


def watch_payload(watch: Watch, listing: Listing, order: ContractOrder | None) -> Payload:
    """A conditional order; `order` is what it became."""
    trailing = watch.kind is WatchKind.TRAILING
    extra = {"activatePrice": fixed(watch.trigger), "callbackRate": str(watch.callback)} if trailing else {}
    return {
        "algoId": watch.id,
        "clientAlgoId": watch.client_id,
        "algoType": "CONDITIONAL",
        "orderType": watch.kind.value,
        "symbol": listing.id,
        "side": side_word(watch.side),
        "positionSide": ONE_WAY,
        "timeInForce": watch.life.value,
        "quantity": fixed(watch.quantity),
        "algoStatus": watch.status.value,
        "actualOrderId": str(watch.order_id) if watch.order_id else "",
        "actualPrice": fixed(order.average if order else ZERO),
        "triggerPrice": fixed(ZERO if trailing else watch.trigger),
        "price": fixed(watch.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": NO_RULE,
        "workingType": MARK_PRICE if watch.by_mark else CONTRACT_PRICE,
        "priceMatch": NO_RULE,
        "closePosition": watch.closes,
        "priceProtect": False,
        "reduceOnly": watch.reduces,
        "createTime": watch.accepted_ms,
        "updateTime": watch.updated_ms,
        "triggerTime": watch.triggered_ms,
        "goodTillDate": 0,
        **extra,
    }


def fill_payload(fill: ContractFill, listing: Listing) -> Payload:
    """A fill of ours as userTrades answers it."""
    return {
        "symbol": listing.id,
        "id": fill.id,
        "orderId": fill.order_id,
        "side": side_word(fill.side),
        "price": fixed(fill.price),
        "qty": fixed(fill.quantity),
        "realizedPnl": fixed(fill.realised),
        "marginAsset": listing.quote,
        "quoteQty": fixed(fill.quantity * fill.price),
        "commission": fixed(fill.commission),
        "commissionAsset": listing.quote,
        "time": fill.at_ms,
        "positionSide": ONE_WAY,
        "buyer": fill.side is Side.BUY,
        "maker": fill.maker,
    }


def income_payload(income: Income, listing: Listing) -> Payload:
    """An amount that moved the wallet."""
    trade_id = income.detail if income.kind in ("REALIZED_PNL", "COMMISSION") else ""
    return {
        "symbol": listing.id,
        "incomeType": income.kind,
        "income": fixed(income.amount),
        "asset": income.asset,
        "info": income.kind,
        "time": income.at_ms,
        "tranId": income.id,
        "tradeId": trade_id,
    }


def holding_payload(holding: Holding, listing: Listing, liquidation: Decimal | None) -> Payload:
    """A position as positionRisk (v3) answers it."""
    return {
        "symbol": listing.id,
        "positionSide": ONE_WAY,
        "positionAmt": fixed(holding.quantity),
        "entryPrice": fixed(holding.entry),
        "breakEvenPrice": fixed(holding.entry),
        "markPrice": fixed(holding.mark),
        "unRealizedProfit": fixed(holding.unrealised),
        "liquidationPrice": fixed(liquidation or ZERO),
        "isolatedMargin": "0",
        "notional": fixed(holding.notional),
        "marginAsset": listing.quote,
        "isolatedWallet": "0",
        "initialMargin": fixed(holding.initial + holding.orders_margin),
        "maintMargin": fixed(holding.maintenance),
        "positionInitialMargin": fixed(holding.initial),
        "openOrderInitialMargin": fixed(holding.orders_margin),
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": holding.updated_ms,
    }


def account_position(holding: Holding, listing: Listing, leverage: int) -> Payload:
    """A position as the account lists it."""
    return {
        "symbol": listing.id,
        "initialMargin": fixed(holding.initial + holding.orders_margin),
        "maintMargin": fixed(holding.maintenance),
        "unrealizedProfit": fixed(holding.unrealised),
        "positionInitialMargin": fixed(holding.initial),
        "openOrderInitialMargin": fixed(holding.orders_margin),
        "leverage": str(leverage),
        "maxNotional": fixed(largest_notional(leverage)),
        "bidNotional": "0",
        "askNotional": "0",
        "isolated": False,
        "entryPrice": fixed(holding.entry),
        "positionSide": ONE_WAY,
        "positionAmt": fixed(holding.quantity),
        "notional": fixed(holding.notional),
        "isolatedMargin": "0",
        "isolatedWallet": "0",
        "updateTime": holding.updated_ms,
    }


def asset_payload(standing: Standing, now_ms: int) -> Payload:
    """A margin asset as the account lists it."""
    return {
        "asset": standing.asset,
        "walletBalance": fixed(standing.wallet),
        "unrealizedProfit": fixed(standing.unrealised),
        "marginBalance": fixed(standing.balance),
        "maintMargin": fixed(standing.maintenance),
        "initialMargin": fixed(standing.initial + standing.orders_margin),
        "positionInitialMargin": fixed(standing.initial),
        "openOrderInitialMargin": fixed(standing.orders_margin),
        "crossWalletBalance": fixed(standing.wallet),
        "crossUnPnl": fixed(standing.unrealised),
        "availableBalance": fixed(standing.available),
        "maxWithdrawAmount": fixed(ZERO),
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def balance_payload(standing: Standing, now_ms: int) -> Payload:
    """A margin asset as the balance lists it."""
    return {
        "accountAlias": "practice",
        "asset": standing.asset,
        "balance": fixed(standing.wallet),
        "crossWalletBalance": fixed(standing.wallet),
        "crossUnPnl": fixed(standing.unrealised),
        "availableBalance": fixed(standing.available),
        "maxWithdrawAmount": fixed(ZERO),
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def account_totals(standings: Iterable[Standing]) -> Payload:
    """Sums over the margin assets, each counted at one US dollar."""
    every = list(standings)

    def total(*names: str) -> str:
        return fixed(sum((getattr(standing, name) for standing in every for name in names), ZERO))

    return {
        "totalInitialMargin": total("initial", "orders_margin"),
        "totalMaintMargin": total("maintenance"),
        "totalWalletBalance": total("wallet"),
        "totalUnrealizedProfit": total("unrealised"),
        "totalMarginBalance": total("balance"),
        "totalPositionInitialMargin": total("initial"),
        "totalOpenOrderInitialMargin": total("orders_margin"),
        "totalCrossWalletBalance": total("wallet"),
        "totalCrossUnPnl": total("unrealised"),
        "availableBalance": total("available"),
        "maxWithdrawAmount": fixed(ZERO),
    }


def order_event(changed: ContractOrderChanged, listing: Listing, now_ms: int) -> Payload:
    """The user stream's account of one change of an order."""
    order, fill = changed.order, changed.fill
    paid = {"N": listing.quote, "n": fixed(fill.commission)} if fill else {}
    body = {
        "s": listing.id,
        "c": order.client_id,
        "S": side_word(order.side),
        "o": order.kind.value,
        "f": order.life.value,
        "q": fixed(order.quantity),
        "p": fixed(order.price),
        "ap": fixed(order.average),
        "sp": "0",
        "x": changed.what,
        "X": order.status.value,
        "i": order.id,
        "l": fixed(fill.quantity if fill else ZERO),
        "z": fixed(order.filled),
        "L": fixed(fill.price if fill else ZERO),
        **paid,
        "T": order.updated_ms,
        "t": fill.id if fill else 0,
        "b": "0",
        "a": "0",
        "m": fill.maker if fill else False,
        "R": order.reduces,
        "wt": CONTRACT_PRICE,
        "ot": order.origin,
        "ps": ONE_WAY,
        "cp": order.closes,
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": fixed(fill.realised if fill else ZERO),
        "V": NO_RULE,
        "pm": NO_RULE,
        "gtd": 0,
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": order.updated_ms, "o": body}


def watch_event(watch: Watch, listing: Listing, now_ms: int) -> Payload:
    """The user stream's account of one change of a conditional order."""
    body = {
        "caid": watch.client_id,
        "aid": watch.id,
        "at": "CONDITIONAL",
        "o": watch.kind.value,
        "s": listing.id,
        "S": side_word(watch.side),
        "ps": ONE_WAY,
        "f": watch.life.value,
        "q": fixed(watch.quantity),
        "X": watch.status.value,
        "ai": str(watch.order_id) if watch.order_id else "",
        "ap": "0",
        "aq": "0",
        "act": "0",
        "tp": fixed(watch.trigger),
        "p": fixed(watch.price),
        "V": NO_RULE,
        "wt": MARK_PRICE if watch.by_mark else CONTRACT_PRICE,
        "pm": NO_RULE,
        "cp": watch.closes,
        "pP": False,
        "R": watch.reduces,
        "tt": watch.triggered_ms,
        "gtd": 0,
        "rm": watch.reason,
    }
    return {"e": "ALGO_UPDATE", "T": watch.updated_ms, "E": now_ms, "o": body}


def account_event(reason: str, purses: dict[str, Purse], positions: list[tuple[Listing, Position, Decimal]], now_ms: int) -> Payload:
    """The user stream's account of changed purses and positions, the latter with their unrealised profit."""
    balances = [{"a": asset, "wb": fixed(purse.wallet), "cw": fixed(purse.wallet), "bc": "0"} for asset, purse in purses.items()]
    rows = [
        {
            "s": listing.id,
            "pa": fixed(position.quantity),
            "ep": fixed(position.entry_price),
            "bep": fixed(position.entry_price),
            "cr": fixed(position.realised),
            "up": fixed(unrealised),
            "mt": "cross",
            "iw": "0",
            "ps": ONE_WAY,
            "ma": listing.quote,
        }
        for listing, position, unrealised in positions
    ]
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": {"m": reason, "B": balances, "P": rows}}


def margin_event(wallet: Decimal, holdings: list[tuple[Listing, Holding]], now_ms: int) -> Payload:
    """A margin call with the positions it is about."""
    rows = [
        {
            "s": listing.id,
            "ps": ONE_WAY,
            "pa": fixed(holding.quantity),
            "mt": "CROSSED",
            "iw": "0",
            "mp": fixed(holding.mark),
            "up": fixed(holding.unrealised),
            "mm": fixed(holding.maintenance),
        }
        for listing, holding in holdings
    ]
    return {"e": "MARGIN_CALL", "E": now_ms, "cw": fixed(wallet), "p": rows}
