"""Reads that lag behind writes: what a replica answers that has not heard of the newest orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from desk.practice_exchange.dialects.binance.errors import WireError

ACCOUNT_PATH = "/api/v3/account"
NO_SUCH_ORDER = (-2013, "Order does not exist.")


@dataclass(frozen=True, slots=True)
class Lag:
    """Knows orders up to a number, and the account as it was then."""

    last_order: int
    account: Any

    def answer(self, method: str, path: str, fresh: Any) -> Any:
        """What a read answers instead; raises -2013 for an order it has not heard of. What is no read of the account's is as fresh as ever."""
        if method != "GET":
            return fresh
        if path == ACCOUNT_PATH:
            return self.account
        if isinstance(fresh, dict) and self._new(fresh):
            raise WireError(*NO_SUCH_ORDER)
        if isinstance(fresh, list):
            return [row for row in fresh if not self._new(row)]
        return fresh

    def _new(self, row: Any) -> bool:
        return isinstance(row, dict) and isinstance(row.get("orderId"), int) and row["orderId"] > self.last_order
