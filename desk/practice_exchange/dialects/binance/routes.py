"""What a route is, and how its parameters are read: text in, an answer to encode out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from desk.practice_exchange.dialects.binance.errors import WireError, malformed, missing
from desk.practice_exchange.dialects.binance.market import Market, Range
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.listing import Listing

Parameters = Mapping[str, str]
Handler = Callable[[Parameters], Any]

LIMIT_DEFAULT, LIMIT_MOST = 500, 1000
INTEGER = r"^[0-9]{1,20}$"


class Json(str):
    """Text that is JSON already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Route:
    """What a path does. `weight` may depend on the parameters."""

    handler: Handler
    weight: Callable[[Parameters], int]
    signed: bool = False


class Directory:
    """Symbols as the wire names them."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        self._exchange = exchange
        self._market = market
        self._symbols = {listing.id: symbol for symbol, listing in exchange.tape.listings.items()}

    def listed(self) -> list[str]:
        """Every symbol that has printed anything yet."""
        return [symbol for symbol in sorted(self._symbols.values()) if self._market.listed(symbol)]

    def symbol(self, given: Parameters, name: str | None = None) -> str:
        """The symbol that is meant; raises -1102 or -1121."""
        market_id = name or given.get("symbol", "")
        if not market_id:
            raise missing("symbol")
        if market_id not in self._symbols or not self._market.listed(self._symbols[market_id]):
            raise WireError(-1121, "Invalid symbol.")
        return self._symbols[market_id]

    def listing(self, symbol: str) -> Listing:
        """The grid of a symbol."""
        return self._exchange.listing(symbol)


def always(weight: int) -> Callable[[Parameters], int]:
    """The same weight whatever is asked."""
    return lambda given: weight


def one_or_all(one: int, every: int) -> Callable[[Parameters], int]:
    """A weight for one symbol and another for all of them."""
    return lambda given: one if "symbol" in given else every


def integer(given: Parameters, name: str) -> int | None:
    """A whole number, or None when it was not sent; raises -1100."""
    text = given.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise malformed(name, INTEGER)
    return int(text)


def range_of(given: Parameters) -> Range:
    """The time and the number of rows that are asked for."""
    limit = integer(given, "limit")
    return Range(integer(given, "startTime"), integer(given, "endTime"), min(LIMIT_DEFAULT if limit is None else limit, LIMIT_MOST))


def page(found: list[Any], limit: int, *, forward: bool) -> list[Any]:
    """A page of rows in time order: the first ones from where the question begins, or the newest."""
    return found[:limit] if forward else found[-limit:] if limit else []
