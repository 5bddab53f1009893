"""Our book against the venue's truth. A difference is named and stops us; it is never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from desk.books.journal import Recovered
from desk.books.portfolio import Portfolio
from desk.errors import BookMismatch

# Venues print balances with eight decimals; a difference below one of those is rounding. Ours.
DUST = Decimal("1e-8")
# Called at every close, when what was executed is booked: the portfolio, and the ids of the orders that may rest.
Audit = Callable[[Portfolio, Collection[str]], None]


@dataclass(frozen=True, slots=True)
class ReconciledBook:
    """A book that the venue confirmed: the proof live trading asks for. Made by `reconcile` only."""

    recovered: Recovered
    balances: dict[str, Decimal]


def reconcile(recovered: Recovered, balances: Mapping[str, Decimal], open_orders: Sequence[str]) -> ReconciledBook:
    """A recovered book that agrees with the account."""
    agree(recovered.portfolio, balances, open_orders)
    return ReconciledBook(recovered, {asset: balances.get(asset, Decimal(0)) for asset in recovered.portfolio.balances()})


def agree(portfolio: Portfolio, balances: Mapping[str, Decimal], open_orders: Sequence[str]) -> None:
    """Compare currency by currency; open orders of ours must be none. Currencies we do not trade are not ours to judge. `BookMismatch` names what differs."""
    ours = portfolio.balances()
    differences = [
        f"{asset}: ours {amount}, the venue's {balances.get(asset, Decimal(0))}"
        for asset, amount in sorted(ours.items())
        if abs(amount - balances.get(asset, Decimal(0))) > DUST
    ]
    differences += [f"open order {order_id} that no decision accounts for" for order_id in open_orders]
    if differences:
        raise BookMismatch(f"expected our book to equal the venue's account, found {'; '.join(differences)}: settle by hand before trading")


def unaudited(portfolio: Portfolio, resting: Collection[str]) -> None:
    """Nothing to compare with: a simulated venue's account is our book."""
