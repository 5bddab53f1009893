"""From the parameters of an order request to a ticket, or Binance's refusal. Syntax first, then the symbol's filters, in Binance's order."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from configs.vocabulary import Side
from desk.practice_exchange.dialects.binance.errors import WireError, filter_failure, malformed, missing, not_required
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import ZERO, Kind, Life, Ticket

Parameters = Mapping[str, str]
Word = TypeVar("Word")

NUMBER = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
DECIMALS = 8
LARGEST_PRICE, LARGEST_QUANTITY = Decimal(1_000_000), Decimal(90_000_000_000)
LARGEST_NOTIONAL = Decimal(9_000_000)
MOST_OPEN_ORDERS = 200


def filters_of(listing: Listing) -> list[dict[str, object]]:
    """The filters of a symbol as exchangeInfo lists them."""
    return [
        {"filterType": "PRICE_FILTER", "minPrice": fixed(listing.tick), "maxPrice": fixed(LARGEST_PRICE), "tickSize": fixed(listing.tick)},
        {"filterType": "LOT_SIZE", "minQty": fixed(listing.lot), "maxQty": fixed(LARGEST_QUANTITY), "stepSize": fixed(listing.lot)},
        {"filterType": "MARKET_LOT_SIZE", "minQty": fixed(ZERO), "maxQty": fixed(LARGEST_QUANTITY), "stepSize": fixed(ZERO)},
        {
            "filterType": "NOTIONAL",
            "minNotional": fixed(listing.min_notional),
            "applyMinToMarket": True,
            "maxNotional": fixed(LARGEST_NOTIONAL),
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_OPEN_ORDERS},
    ]


def fixed(amount: Decimal | float) -> str:
    """An amount as Binance prints it: eight decimals, never an exponent."""
    return f"{amount:.{DECIMALS}f}"


def ticket(parameters: Parameters, listing: Listing, reference: float | None) -> Ticket:
    """Read and check an order. `reference` is the market's price, for the notional of market orders; None while it is closed."""
    side = _word(parameters, "side", {"BUY": Side.BUY, "SELL": Side.SELL}, WireError(-1117, "Invalid side."))
    kind = _word(parameters, "type", {kind.value: kind for kind in Kind}, WireError(-1116, "Invalid orderType."))
    quantity, quote_quantity = _amount(parameters, "quantity"), _amount(parameters, "quoteOrderQty")
    price = _amount(parameters, "price")
    life = _life(parameters, kind)
    if kind is Kind.MARKET:
        _check_market(parameters, quantity, quote_quantity)
        worth = quote_quantity or (quantity * Decimal(str(reference)) if reference is not None else None)
    else:
        _check_limit(parameters, quantity, price)
        _check_price(price, listing)
        worth = quantity * price
    if not quote_quantity:
        _check_quantity(quantity, listing)
    _check_notional(worth, kind, listing)
    return Ticket(listing.symbol, side, kind, life, quantity, quote_quantity, price, client_id(parameters, "newClientOrderId"))


def client_id(parameters: Parameters, name: str) -> str:
    """The client's own id, or one made for it."""
    given = parameters.get(name, "")
    if given and not re.fullmatch(CLIENT_ID, given):
        raise malformed(name, CLIENT_ID)
    return given or secrets.token_hex(11)


def _word(parameters: Parameters, name: str, words: Mapping[str, Word], refusal: WireError) -> Word:
    given = parameters.get(name, "")
    if not given:
        raise missing(name)
    if given not in words:
        raise refusal
    return words[given]


def _amount(parameters: Parameters, name: str) -> Decimal:
    """A positive number, or 0 when it was not sent."""
    given = parameters.get(name)
    if given is None:
        return ZERO
    if not re.fullmatch(NUMBER, given):
        raise malformed(name, NUMBER)
    amount = Decimal(given)
    if amount != round(amount, DECIMALS):
        raise WireError(-1111, f"Parameter '{name}' has too much precision.")
    return amount


def _life(parameters: Parameters, kind: Kind) -> Life:
    if kind is not Kind.LIMIT:
        if "timeInForce" in parameters:
            raise not_required("timeInForce")
        return Life.UNTIL_CANCELLED
    return _word(parameters, "timeInForce", {life.value: life for life in Life}, WireError(-1115, "Invalid timeInForce."))


def _check_market(parameters: Parameters, quantity: Decimal, quote_quantity: Decimal) -> None:
    if "price" in parameters:
        raise not_required("price")
    if "quantity" in parameters and "quoteOrderQty" in parameters:
        raise WireError(-1128, "Combination of optional parameters invalid.")
    if not quantity and not quote_quantity:
        raise missing("quantity") if "quantity" not in parameters else WireError(-1013, "Invalid quantity.")


def _check_limit(parameters: Parameters, quantity: Decimal, price: Decimal) -> None:
    if "quoteOrderQty" in parameters:
        raise not_required("quoteOrderQty")
    for name, amount in (("quantity", quantity), ("price", price)):
        if name not in parameters:
            raise missing(name)
        if not amount:
            raise WireError(-1013, f"Invalid {name}.")


def _check_price(price: Decimal, listing: Listing) -> None:
    if not listing.tick <= price <= LARGEST_PRICE or price % listing.tick:
        raise filter_failure("PRICE_FILTER")


def _check_quantity(quantity: Decimal, listing: Listing) -> None:
    if not listing.lot <= quantity <= LARGEST_QUANTITY or quantity % listing.lot:
        raise filter_failure("LOT_SIZE")


def _check_notional(worth: Decimal | None, kind: Kind, listing: Listing) -> None:
    """A closed market has no price to judge a market order by; it is refused for being closed."""
    if worth is None:
        return
    if worth < listing.min_notional or (kind is not Kind.MARKET and worth > LARGEST_NOTIONAL):
        raise filter_failure("NOTIONAL")
