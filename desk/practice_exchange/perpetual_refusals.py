"""Why a contract order is turned down, where spot has no word for it; a dialect gives each its code."""

from __future__ import annotations

from desk.practice_exchange.refusals import Refusal


class InsufficientMargin(Refusal):
    """The account cannot bind the initial margin of a contract order."""


class NothingToReduce(Refusal):
    """A reduce-only order has no position to reduce."""


class AlreadyReducing(Refusal):
    """Resting reduce-only orders cover the whole position already."""


class WouldTrigger(Refusal):
    """A conditional order's price is reached already."""


class BeyondBracket(Refusal):
    """The position would be larger than its leverage allows."""


class LeverageHeld(Refusal):
    """The leverage cannot go down: the positions would need more margin than there is."""


class NothingToChange(Refusal):
    """An order is already as asked."""
