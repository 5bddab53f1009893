"""Binance's error bodies: code, message and HTTP status, as its documentation and recorded answers have them."""

from __future__ import annotations

from desk.practice_exchange.refusals import DuplicateOrder, InsufficientBalance, MarketClosed, Refusal, UnknownOrder, WouldTake

BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, TOO_MANY = 400, 401, 404, 429


class WireError(Exception):
    """An answer {code, msg} with a status that is not 200."""

    def __init__(self, code: int, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers: dict[str, str] = {}

    @property
    def body(self) -> dict[str, object]:
        """What the client reads."""
        return {"code": self.code, "msg": self.message}


REFUSALS: dict[type[Refusal], tuple[int, str]] = {
    InsufficientBalance: (-2010, "Account has insufficient balance for requested action."),
    DuplicateOrder: (-2010, "Duplicate order sent."),
    WouldTake: (-2010, "Order would immediately match and take."),
    MarketClosed: (-1013, "Market is closed."),
    UnknownOrder: (-2011, "Unknown order sent."),
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


def over_weight(limit: int, retry_after_s: int) -> WireError:
    """Too much was asked in this minute."""
    allowed = f"current limit is {limit} request weight per 1 MINUTE"
    message = f"Too much request weight used; {allowed}. Please use WebSocket Streams for live updates to avoid polling the API."
    error = WireError(-1003, message, TOO_MANY)
    error.headers["Retry-After"] = str(retry_after_s)
    return error
