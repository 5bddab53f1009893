"""Our book against the venue's truth. A difference is named and stops us; it is never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from desk.books.portfolio import Portfolio
from desk.books.records import Between, Recovered, funded
from desk.errors import BookMismatch
from desk.events import Flow

# Venues print balances with eight decimals; a difference below one of those is rounding. Ours.
DUST = Decimal("1e-8")
# Called at every close, when what was executed is booked: the portfolio, and the ids of the orders that may rest.
Audit = Callable[[Portfolio, Collection[str]], None]
# Asked what happened to the account besides our orders: before an audit, and (True) at leisure, when a step is carried out.
Besides = Callable[[Portfolio, datetime, bool], Between]


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


def with_flows(recovered: Recovered, flows: Sequence[Flow]) -> Recovered:
    """A recovered book with money booked that came or went while nobody traded."""
    last = recovered.last
    for flow in flows:
        recovered.portfolio.move(flow)
        last = funded(last, recovered.portfolio.worth(flow, last.closes)) if last else None
    return replace(recovered, last=last)


def nothing_besides(portfolio: Portfolio, at: datetime, leisure: bool) -> Between:
    """A simulated account knows orders only."""
    return Between()


def unaudited(portfolio: Portfolio, resting: Collection[str]) -> None:
    """Nothing to compare with: a simulated venue's account is our book."""
