"""What a trade costs the account: a rate of what is received, or less when it is paid in the exchange's own coin."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from desk.practice_exchange.ledger import ZERO

COMMISSION_STEP = Decimal("1e-8")
COIN = "BNB"
COIN_SHARE = Decimal("0.75")  # a quarter off when the commission is paid in the coin


class Charge(NamedTuple):
    """A commission and the asset it is paid in."""

    asset: str
    amount: Decimal


def in_kind(asset: str, received: Decimal, rate: Decimal) -> Charge:
    """The usual commission: a part of what is received, rounded down to what the wire can carry."""
    return Charge(asset, (received * rate).quantize(COMMISSION_STEP, ROUND_DOWN))


def in_coin(worth: Decimal, rate: Decimal, coin_price: Decimal | None, held: Decimal) -> Charge | None:
    """The commission in the coin: `worth` and `coin_price` in one currency; None when there is no price or not enough is held."""
    if coin_price is None or coin_price <= ZERO:
        return None
    amount = (worth * rate * COIN_SHARE / coin_price).quantize(COMMISSION_STEP, ROUND_DOWN)
    return Charge(COIN, amount) if amount <= held else None
