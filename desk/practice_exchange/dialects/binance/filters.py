"""From the parameters of an order request to a ticket, or Binance's refusal. Syntax first, then the symbol's filters, in Binance's order."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

from configs.vocabulary import Side
from desk.practice_exchange.dialects.binance.errors import WireError, filter_failure, malformed, missing, not_required
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.orders import ZERO, Kind, Life, Order, Ticket

Parameters = Mapping[str, str]
Word = TypeVar("Word")

NUMBER = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
DECIMALS = 8
LARGEST_PRICE, LARGEST_QUANTITY = Decimal(1_000_000), Decimal(90_000_000_000)
LARGEST_NOTIONAL = Decimal(9_000_000)
MOST_OPEN_ORDERS, MOST_SLEEPING_ORDERS, MOST_ICEBERG_PARTS = 200, 5, 10
# Multiples of the market's price between which a side may be priced: Binance's 0.2 to 5, but a buyer may lie in wait as low as he likes.
BID_DOWN, ASK_DOWN, UP = Decimal("0.001"), Decimal("0.2"), Decimal(5)
ASK_UP = Decimal(1000)
LEAST_TRAIL, LARGEST_TRAIL = 10, 2000  # basis points


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
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(UP),
            "bidMultiplierDown": str(BID_DOWN),
            "askMultiplierUp": str(ASK_UP),
            "askMultiplierDown": str(ASK_DOWN),
            "avgPriceMins": 5,
        },
        {"filterType": "ICEBERG_PARTS", "limit": MOST_ICEBERG_PARTS},
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": LEAST_TRAIL,
            "maxTrailingAboveDelta": LARGEST_TRAIL,
            "minTrailingBelowDelta": LEAST_TRAIL,
            "maxTrailingBelowDelta": LARGEST_TRAIL,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_OPEN_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MOST_SLEEPING_ORDERS},
    ]


SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
KINDS = {kind.value: kind for kind in Kind}


def fixed(amount: Decimal | float) -> str:
    """An amount as Binance prints it: eight decimals, never an exponent."""
    return f"{amount:.{DECIMALS}f}"


def ticket(parameters: Parameters, listing: Listing, reference: float | None) -> Ticket:
    """Read and check an order. `reference` is the market's price, for market orders' notional and the range of prices; None while it is closed."""
    side = _word(parameters, "side", SIDES, WireError(-1117, "Invalid side."))
    kind = _word(parameters, "type", KINDS, WireError(-1116, "Invalid orderType."))
    quantity, quote_quantity = _amount(parameters, "quantity"), _amount(parameters, "quoteOrderQty")
    price, stop_price, iceberg = _amount(parameters, "price"), _amount(parameters, "stopPrice"), _amount(parameters, "icebergQty")
    trailing = _trailing(parameters, kind)
    life = _life(parameters, kind)
    _check_stop(parameters, kind, stop_price, trailing, listing)
    if kind is Kind.MARKET:
        _check_market(parameters, quantity, quote_quantity)
        worth = quote_quantity or (quantity * Decimal(str(reference)) if reference is not None else None)
    else:
        _check_sized(parameters, quantity, price, kind)
        if kind.priced:
            _check_price(price, listing)
            _check_range(price, side, reference)
        worth = quantity * (price or stop_price or Decimal(str(reference or 0)))
    if not quote_quantity:
        _check_quantity(quantity, listing)
    if "icebergQty" in parameters:
        _check_iceberg(quantity, iceberg, listing, allowed=kind.priced and life is Life.UNTIL_CANCELLED)
    _check_notional(worth, kind, listing)
    name = client_id(parameters, "newClientOrderId")
    return Ticket(listing.symbol, side, kind, life, quantity, quote_quantity, price, name, stop_price, trailing, iceberg)


def check_room(wanted: Iterable[Ticket], open_orders: Iterable[Order]) -> None:
    """Raise when a symbol has no room for these orders beside the open ones."""
    asleep = [order.kind.conditional and not order.working for order in open_orders]
    new = [each.kind.conditional for each in wanted]
    if len(asleep) + len(new) > MOST_OPEN_ORDERS:
        raise filter_failure("MAX_NUM_ORDERS")
    if any(new) and sum(asleep) + sum(new) > MOST_SLEEPING_ORDERS:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")


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
    if not kind.timed:
        if "timeInForce" in parameters:
            raise not_required("timeInForce")
        return Life.UNTIL_CANCELLED
    return _word(parameters, "timeInForce", {life.value: life for life in Life}, WireError(-1115, "Invalid timeInForce."))


def _trailing(parameters: Parameters, kind: Kind) -> int:
    given = parameters.get("trailingDelta")
    if given is None:
        return 0
    if not kind.conditional:
        raise not_required("trailingDelta")
    if not given.isdigit():
        raise malformed("trailingDelta", NUMBER)
    if not LEAST_TRAIL <= int(given) <= LARGEST_TRAIL:
        raise filter_failure("TRAILING_DELTA")
    return int(given)


def _check_stop(parameters: Parameters, kind: Kind, stop_price: Decimal, trailing: int, listing: Listing) -> None:
    if not kind.conditional:
        if "stopPrice" in parameters:
            raise not_required("stopPrice")
        return
    if not stop_price and not trailing:
        raise WireError(-1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!")
    if stop_price:
        _check_price(stop_price, listing)


def _check_market(parameters: Parameters, quantity: Decimal, quote_quantity: Decimal) -> None:
    if "price" in parameters:
        raise not_required("price")
    if "quantity" in parameters and "quoteOrderQty" in parameters:
        raise WireError(-1128, "Combination of optional parameters invalid.")
    if not quantity and not quote_quantity:
        raise missing("quantity") if "quantity" not in parameters else WireError(-1013, "Invalid quantity.")


def _check_sized(parameters: Parameters, quantity: Decimal, price: Decimal, kind: Kind) -> None:
    """Orders other than market orders: a quantity, and a price exactly when the kind has one."""
    if "quoteOrderQty" in parameters:
        raise not_required("quoteOrderQty")
    if not kind.priced and "price" in parameters:
        raise not_required("price")
    for name, amount in (("quantity", quantity), *((("price", price),) if kind.priced else ())):
        if name not in parameters:
            raise missing(name)
        if not amount:
            raise WireError(-1013, f"Invalid {name}.")


def _check_iceberg(quantity: Decimal, shown: Decimal, listing: Listing, *, allowed: bool) -> None:
    if not allowed:
        raise not_required("icebergQty")
    _check_quantity(shown, listing)
    if shown > quantity or quantity > shown * MOST_ICEBERG_PARTS:
        raise filter_failure("ICEBERG_PARTS")


def _check_range(price: Decimal, side: Side, reference: float | None) -> None:
    """A closed market has no price to compare with; the order is refused for that."""
    if reference is None:
        return
    multiple = price / Decimal(str(reference))
    lowest, highest = (BID_DOWN, UP) if side is Side.BUY else (ASK_DOWN, ASK_UP)
    if not lowest <= multiple <= highest:
        raise filter_failure("PERCENT_PRICE_BY_SIDE")


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
    if worth < listing.min_notional or (kind.priced and worth > LARGEST_NOTIONAL):
        raise filter_failure("NOTIONAL")
