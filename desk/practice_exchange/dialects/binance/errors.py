"""Binance's error bodies: code, message and HTTP status, as its documentation and recorded answers have them."""

from __future__ import annotations

from collections.abc import Mapping

from desk.practice_exchange.refusals import (
    DuplicateOrder,
    InsufficientBalance,
    MarketClosed,
    Refusal,
    UnknownList,
    UnknownOrder,
    WouldTake,
    WouldTrigger,
    WrongPrices,
)

BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, CONFLICT, BANNED, TOO_MANY = 400, 401, 404, 409, 418, 429


class WireError(Exception):
    """An answer {code, msg} with a status that is not 200."""

    def __init__(self, code: int, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers: dict[str, str] = {}
        self.data: dict[str, object] | None = None

    @property
    def body(self) -> dict[str, object]:
        """What the client reads."""
        body: dict[str, object] = {"code": self.code, "msg": self.message}
        return body if self.data is None else {**body, "data": self.data}


REFUSALS: dict[type[Refusal], tuple[int, str]] = {
    InsufficientBalance: (-2010, "Account has insufficient balance for requested action."),
    DuplicateOrder: (-2010, "Duplicate order sent."),
    WouldTake: (-2010, "Order would immediately match and take."),
    MarketClosed: (-1013, "Market is closed."),
    UnknownOrder: (-2011, "Unknown order sent."),
    UnknownList: (-2011, "Unknown order list sent."),
    WouldTrigger: (-2010, "Stop price would trigger immediately."),
    WrongPrices: (-2010, "The relationship of the prices for the orders is not correct."),
}


def translated(refusal: Refusal) -> WireError:
    """A refusal of the exchange in Binance's words."""
    return WireError(*REFUSALS[type(refusal)])


def missing(parameter: str) -> WireError:
    """A parameter that must be there is not."""
    return WireError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def malformed(parameter: str, legal: str) -> WireError:
    """A parameter has characters it may not have."""
    return WireError(-1100, f"Illegal characters found in parameter '{parameter}'; legal range is '{legal}'.")


def not_required(parameter: str) -> WireError:
    """A parameter does not belong to this kind of order."""
    return WireError(-1106, f"Parameter '{parameter}' sent when not required.")


def filter_failure(name: str) -> WireError:
    """An order misses one of the symbol's filters."""
    return WireError(-1013, f"Filter failure: {name}")


def unknown_path(method: str, path: str) -> WireError:
    """Nothing is served here."""
    return WireError(-5000, f"Path {path}, Method {method} is invalid", NOT_FOUND)


def forbidden() -> WireError:
    """The key has not the right to do this."""
    return WireError(-2015, "Invalid API-key, IP, or permissions for action.", UNAUTHORIZED)


def replace_failed(data: Mapping[str, object], *, partially: bool) -> WireError:
    """A cancel-replace of which one half or nothing was done; `data` has both answers."""
    error = WireError(-2021, "Order cancel-replace partially failed.", CONFLICT) if partially else WireError(-2022, "Order cancel-replace failed.")
    error.data = dict(data)
    return error


def over_weight(limit: int, retry_after_s: int) -> WireError:
    """Too much was asked in this minute."""
    allowed = f"current limit is {limit} request weight per 1 MINUTE"
    message = f"Too much request weight used; {allowed}. Please use WebSocket Streams for live updates to avoid polling the API."
    return _later(WireError(-1003, message, TOO_MANY), retry_after_s)


def banned(until_ms: int, retry_after_s: int) -> WireError:
    """One who goes on asking after 429 is not heard for a while."""
    message = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams for live updates to avoid bans."
    return _later(WireError(-1003, message, BANNED), retry_after_s)


def over_orders(limit: int, seconds: int, retry_after_s: int) -> WireError:
    """Too many new orders in this window."""
    return _later(WireError(-1015, f"Too many new orders; current limit is {limit} orders per {seconds} SECOND.", TOO_MANY), retry_after_s)


def _later(error: WireError, retry_after_s: int) -> WireError:
    error.headers["Retry-After"] = str(retry_after_s)
    return error
