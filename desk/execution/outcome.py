"""What an answer to a submission proves: confirmed, rejected, or nothing.

Confirmed is an order with an id. Rejected is a class or code of a short list, and only when it came with the exchange's own {code, msg}.
Everything else proves nothing and is settled by asking: timeouts, resets, half an answer, an overloaded exchange, and what nobody foresaw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from desk.execution.venue import Answer, Outcome

# Binance codes that prove an order was not accepted whatever class ccxt gives them: filter failure, and a timestamp outside the window.
PROVEN_REFUSALS = (-1013, -1021)


def outcome_of_reply(order_id: str, reply: Any) -> Answer:
    """What ccxt's answer without an error proves: an id that is not empty is an order, all else is in doubt."""
    venue_id = reply.get("id") if isinstance(reply, Mapping) else None
    if not venue_id:
        return Answer(order_id, Outcome.UNRESOLVED, "an answer without an order")
    return Answer(order_id, Outcome.CONFIRMED, str(venue_id))


def outcome_of_error(order_id: str, error: BaseException, response: str | None) -> Answer:
    """What an error proves, with the text of the answer it came with (None: there was none)."""
    outcome = Outcome.REJECTED if proves_refusal(error, response) else Outcome.UNRESOLVED
    return Answer(order_id, outcome, f"{type(error).__name__}: {error}")


def proves_refusal(error: BaseException, response: str | None) -> bool:
    """Whether an error proves that no order exists: a class or code of the allow-list, and an answer with the exchange's own {code, msg}.

    "Duplicate order" is never a refusal: it means that there is one. Source: measured with ccxt against Binance's documented answers.
    """
    import ccxt

    body = _refusal_in(response)
    if body is None or "duplicate" in str(body["msg"]).lower() or isinstance(error, (ccxt.OrderNotFound, ccxt.DuplicateOrderId)):
        return False
    refusals = (
        ccxt.InvalidOrder,
        ccxt.InsufficientFunds,
        ccxt.BadSymbol,
        ccxt.MarketClosed,
        ccxt.AuthenticationError,
        ccxt.DDoSProtection,
        ccxt.RateLimitExceeded,
    )
    return isinstance(error, refusals) or body["code"] in PROVEN_REFUSALS


def _refusal_in(response: str | None) -> dict[str, Any] | None:
    """The JSON of an answer, if it is a refusal: a code and a message."""
    try:
        body = json.loads(response or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) and "code" in body and "msg" in body else None
