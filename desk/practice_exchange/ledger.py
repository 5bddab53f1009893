"""Double entry in Decimal: what the account has free and locked, what the street gave or took, what was paid in commission.

Per asset, free + locked + street + commission is the amount deposited, always and exactly (less what was withdrawn).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from desk.practice_exchange.refusals import InsufficientBalance, LedgerBroken

ZERO = Decimal(0)


@dataclass(slots=True)
class Account:
    """Four places where an amount of one asset can be. `street` is the rest of the market: negative when it gave more than it took."""

    free: Decimal = ZERO
    locked: Decimal = ZERO
    street: Decimal = ZERO
    commission: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Everything, wherever it is: the amount deposited and not withdrawn."""
        return self.free + self.locked + self.street + self.commission


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One side of a trade: `paid` of one asset, of which `from_locked` was reserved, against `received` of another before `commission`."""

    pays: str
    paid: Decimal
    from_locked: Decimal
    receives: str
    received: Decimal
    commission: Decimal


class Ledger:
    """The books of the one account that trades here."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = dict(accounts)

    def of(self, asset: str) -> Account:
        """The account of an asset, opened when it is new."""
        return self.accounts.setdefault(asset, Account())

    def open(self, assets: Iterable[str]) -> None:
        """Have an account for each of these assets."""
        for asset in assets:
            self.of(asset)

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Bring in an amount from outside."""
        self.of(asset).free += amount

    def withdraw(self, asset: str, amount: Decimal) -> None:
        """Send an amount outside. Raises InsufficientBalance and changes nothing when less is free."""
        account = self.of(asset)
        if amount > account.free:
            raise InsufficientBalance
        account.free -= amount

    def charge(self, asset: str, amount: Decimal) -> None:
        """Take a commission that is not a part of what a trade brings in."""
        account = self.of(asset)
        account.free -= amount
        account.commission += amount
        _check(account)

    def lock(self, asset: str, amount: Decimal) -> None:
        """Reserve for an order. Raises InsufficientBalance and changes nothing when there is not enough."""
        account = self.of(asset)
        if amount > account.free:
            raise InsufficientBalance
        account.free -= amount
        account.locked += amount

    def release(self, asset: str, amount: Decimal) -> None:
        """Give a reservation back."""
        account = self.of(asset)
        account.locked -= amount
        account.free += amount
        _check(account)

    def exchange(self, trade: Exchanged) -> None:
        """Book a trade: what was reserved beyond the payment becomes free again, commission is kept from what is received."""
        paying, receiving = self.of(trade.pays), self.of(trade.receives)
        paying.locked -= trade.from_locked
        paying.free += trade.from_locked - trade.paid
        paying.street += trade.paid
        receiving.street -= trade.received
        receiving.free += trade.received - trade.commission
        receiving.commission += trade.commission
        _check(paying)
        _check(receiving)

    def rows(self, assets: Iterable[str]) -> dict[str, list[str]]:
        """Accounts as text, exact."""
        return {asset: [str(amount) for amount in _amounts(self.of(asset))] for asset in sorted(assets)}


def account_of(row: Iterable[str]) -> Account:
    """The inverse of a row of `Ledger.rows`."""
    return Account(*map(Decimal, row))


def _amounts(account: Account) -> tuple[Decimal, ...]:
    return (account.free, account.locked, account.street, account.commission)


def _check(account: Account) -> None:
    if account.free < 0 or account.locked < 0:
        raise LedgerBroken(f"expected amounts >= 0, found {account.free} free and {account.locked} locked")
