"""Our book against the venue's truth. A difference is named and stops us; it is never overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from desk.books.journal import Recovered
from desk.errors import BookMismatch

# Venues print balances with eight decimals; a difference below one of those is rounding. Ours.
DUST = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class ReconciledBook:
    """A book that the venue confirmed: the proof live trading asks for. Made by `reconcile` only."""

    recovered: Recovered
    balances: dict[str, Decimal]


def reconcile(recovered: Recovered, balances: Mapping[str, Decimal], open_orders: Sequence[str]) -> ReconciledBook:
    """Compare currency by currency; open orders of ours must be none. Currencies we do not trade are not ours to judge."""
    ours = recovered.portfolio.balances()
    differences = [
        f"{asset}: ours {amount}, the venue's {balances.get(asset, Decimal(0))}"
        for asset, amount in sorted(ours.items())
        if abs(amount - balances.get(asset, Decimal(0))) > DUST
    ]
    differences += [f"open order {order_id} that no decision accounts for" for order_id in open_orders]
    if differences:
        raise BookMismatch(f"expected our book to equal the venue's account, found {'; '.join(differences)}: settle by hand before trading")
    return ReconciledBook(recovered, {asset: balances.get(asset, Decimal(0)) for asset in ours})
