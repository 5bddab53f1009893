"""Why the exchange says no, in its own words; a dialect gives each its code."""

from __future__ import annotations


class Misuse(ValueError):
    """The exchange cannot be started as asked: the message says what to change."""


class Refusal(Exception):
    """An order or a question that the exchange turns down."""


class InsufficientBalance(Refusal):
    """The account cannot pay for the order."""


class DuplicateOrder(Refusal):
    """An open order already has this client order id."""


class WouldTake(Refusal):
    """A post-only order would match at once."""


class MarketClosed(Refusal):
    """The symbol has no bar at this instant."""


class UnknownOrder(Refusal):
    """There is no such open order to cancel."""


class WouldTrigger(Refusal):
    """A conditional order would wake at once."""


class WrongPrices(Refusal):
    """The prices of a list's orders do not lie on both sides of the market."""


class UnknownList(Refusal):
    """There is no such list of orders with one still open."""


class LedgerBroken(Exception):
    """An amount would become negative: a fault of the exchange itself, never of its client."""
