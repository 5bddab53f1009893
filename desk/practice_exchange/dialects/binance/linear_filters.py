"""From the parameters of a USD-M order request to a ticket, or Binance's refusal. One-way mode and cross margin only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from configs.vocabulary import Side
from desk.practice_exchange.dialects.binance.errors import WireError, malformed, missing, not_required
from desk.practice_exchange.dialects.binance.filters import DECIMALS, NUMBER, client_id, fixed
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.perpetual_orders import ContractKind, ContractLife, ContractTicket, WatchKind, WatchTicket
from desk.practice_exchange.perpetual_refusals import (
    AlreadyReducing,
    BeyondBracket,
    InsufficientMargin,
    LeverageHeld,
    NothingToChange,
    NothingToReduce,
    WouldTrigger,
)
from desk.practice_exchange.refusals import DuplicateOrder, MarketClosed, Refusal, UnknownOrder, WouldTake

Parameters = Mapping[str, str]
Word = TypeVar("Word")

LARGEST_PRICE, LARGEST_QUANTITY = Decimal(1_000_000), Decimal(10_000_000)
MOST_ORDERS, MOST_WATCHES = 200, 100
LEAST_CALLBACK, MOST_CALLBACK = Decimal("0.1"), Decimal(10)

REFUSALS: dict[type[Refusal], tuple[int, str]] = {
    InsufficientMargin: (-2019, "Margin is insufficient."),
    NothingToReduce: (-2022, "ReduceOnly Order is rejected."),
    AlreadyReducing: (-4118, "ReduceOnly Order Failed. Please check your existing position and open orders."),
    WouldTrigger: (-2021, "Order would immediately trigger."),
    WouldTake: (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
    BeyondBracket: (-2027, "Exceeded the maximum allowable position at current leverage."),
    LeverageHeld: (-2028, "Leverage is smaller than permitted: insufficient margin balance."),
    NothingToChange: (-5027, "No need to modify the order."),
    DuplicateOrder: (-4116, "ClientOrderId is duplicated."),
    MarketClosed: (-4108, "This symbol is on delivering or delivered or settling or closed or pre-trading."),
    UnknownOrder: (-2011, "Unknown order sent."),
}


def linear_refusal(refusal: Refusal) -> WireError:
    """A refusal of the contract side in Binance's words."""
    return WireError(*REFUSALS[type(refusal)])


def linear_filters_of(listing: Listing) -> list[dict[str, object]]:
    """The filters of a contract as exchangeInfo lists them."""
    lots = {"minQty": fixed(listing.lot), "maxQty": fixed(LARGEST_QUANTITY), "stepSize": fixed(listing.lot)}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": fixed(listing.tick), "maxPrice": fixed(LARGEST_PRICE), "tickSize": fixed(listing.tick)},
        {"filterType": "LOT_SIZE", **lots},
        {"filterType": "MARKET_LOT_SIZE", **lots},
        {"filterType": "MAX_NUM_ORDERS", "limit": MOST_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MOST_WATCHES},
        {"filterType": "MIN_NOTIONAL", "notional": fixed(listing.min_notional)},
    ]


def linear_ticket(given: Parameters, listing: Listing, reference: float | None) -> ContractTicket:
    """Read and check a plain order; `reference` is the price by which the notional of a market order is judged, None while the market is closed."""
    if given.get("type") in {kind.value for kind in WatchKind}:
        raise WireError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
    side, kind = _side(given), _word(given, "type", {kind.value: kind for kind in ContractKind}, WireError(-1116, "Invalid orderType."))
    quantity, price = read_amount(given, "quantity"), ZERO
    reduces = _flag(given, "reduceOnly")
    life = ContractLife.UNTIL_CANCELLED
    if kind is ContractKind.LIMIT:
        price = read_amount(given, "price")
        life = _life(given)
        check_price(price, listing)
    elif "timeInForce" in given or "price" in given:
        raise not_required("timeInForce" if "timeInForce" in given else "price")
    check_quantity(quantity, listing)
    worth = price if kind is ContractKind.LIMIT else reference
    if worth is not None and not reduces:
        check_notional(quantity * Decimal(str(worth)), listing)
    words = (listing.symbol, side, kind, life, quantity, price, reduces)
    return ContractTicket(*words, client_id(given, "newClientOrderId"), kind.value)


def linear_watch(given: Parameters, listing: Listing) -> WatchTicket:
    """Read and check a conditional order."""
    if given.get("algoType", "CONDITIONAL") != "CONDITIONAL":
        raise malformed("algoType", "^CONDITIONAL$")
    side, kind = _side(given), _word(given, "type", {kind.value: kind for kind in WatchKind}, WireError(-1116, "Invalid orderType."))
    closes = _flag(given, "closePosition")
    price = read_amount(given, "price") if kind.limited else ZERO
    if kind.limited:
        check_price(price, listing)
    trigger, callback = _trigger(given, kind, listing)
    quantity = _watched_quantity(given, kind, listing, closes=closes)
    by_mark = _word({"workingType": "CONTRACT_PRICE", **given}, "workingType", {"CONTRACT_PRICE": False, "MARK_PRICE": True}, _bad_working_type())
    life = _life({"timeInForce": "GTC", **given})
    reduces = closes or _flag(given, "reduceOnly")
    words = (listing.symbol, side, kind, life, quantity, price, trigger, callback, by_mark, reduces, closes)
    return WatchTicket(*words, client_id(given, "clientAlgoId"))


def read_amount(given: Parameters, name: str) -> Decimal:
    """A positive number that must be there."""
    text = given.get(name, "")
    if not text:
        raise missing(name)
    if not re.fullmatch(NUMBER, text):
        raise malformed(name, NUMBER)
    amount = Decimal(text)
    if amount != round(amount, DECIMALS):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")
    return amount


def check_price(price: Decimal, listing: Listing) -> None:
    """Prices lie within bounds and on the grid."""
    if not price:
        raise WireError(-4001, "Price less than 0.")
    if not listing.tick <= price <= LARGEST_PRICE:
        raise WireError(-4002 if price > LARGEST_PRICE else -4013, "Price greater than max price." if price > LARGEST_PRICE else "Price less than min price.")
    if price % listing.tick:
        raise WireError(-4014, "Price not increased by tick size.")


def check_quantity(quantity: Decimal, listing: Listing) -> None:
    """Quantities lie within bounds and on the grid."""
    if not quantity:
        raise WireError(-4003, "Quantity less than or equal to zero.")
    if quantity > LARGEST_QUANTITY:
        raise WireError(-4005, "Quantity greater than max quantity.")
    if quantity % listing.lot:
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")


def check_notional(worth: Decimal, listing: Listing) -> None:
    """An order that is not reduce-only has a least worth."""
    if worth < listing.min_notional:
        raise WireError(-4164, f"Order's notional must be no smaller than {listing.min_notional} (unless you choose reduce only).")


def _side(given: Parameters) -> Side:
    if given.get("positionSide", "BOTH") != "BOTH":
        raise WireError(-4061, "Order's position side does not match user's setting.")
    return _word(given, "side", {"BUY": Side.BUY, "SELL": Side.SELL}, WireError(-1117, "Invalid side."))


def _word(given: Parameters, name: str, words: Mapping[str, Word], refusal: WireError) -> Word:
    text = given.get(name, "")
    if not text:
        raise missing(name)
    if text not in words:
        raise refusal
    return words[text]


def _flag(given: Parameters, name: str) -> bool:
    return _word({name: "false", **given}, name, {"true": True, "True": True, "false": False, "False": False}, malformed(name, "^(true|false)$"))


def _life(given: Parameters) -> ContractLife:
    return _word(given, "timeInForce", {life.value: life for life in ContractLife}, WireError(-1115, "Invalid timeInForce."))


def _trigger(given: Parameters, kind: WatchKind, listing: Listing) -> tuple[Decimal, Decimal]:
    """The trigger price, or where following begins, and the callback rate in percent."""
    if kind is not WatchKind.TRAILING:
        trigger = read_amount(given, "triggerPrice")
        check_price(trigger, listing)
        return trigger, ZERO
    callback = read_amount(given, "callbackRate")
    if not LEAST_CALLBACK <= callback <= MOST_CALLBACK:
        raise WireError(-2007, "Invalid callBack rate.")
    name = "activatePrice" if "activatePrice" in given else "activationPrice"
    activation = read_amount(given, name) if name in given else ZERO
    if activation:
        check_price(activation, listing)
    return activation, callback


def _watched_quantity(given: Parameters, kind: WatchKind, listing: Listing, *, closes: bool) -> Decimal:
    if closes:
        if "quantity" in given or kind.limited or kind is WatchKind.TRAILING:
            raise WireError(-4136, "Target strategy invalid for orderType with closePosition.")
        if "reduceOnly" in given:
            raise not_required("reduceOnly")
        return ZERO
    quantity = read_amount(given, "quantity")
    check_quantity(quantity, listing)
    return quantity


def _bad_working_type() -> WireError:
    return WireError(-4144, "Invalid workingType.")
