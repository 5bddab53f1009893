"""What the account and its keys may do, and how it pays: switches that survive a restart."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Terms:
    """`burn`: commission is paid in the exchange's coin when it is held. The next three are the rights of every key.

    `keys` are public keys (PEM) by API key, beside the one shared secret of the run.
    """

    burn: bool = False
    reading: bool = True
    trading: bool = True
    withdrawals: bool = False
    keys: dict[str, str] = field(default_factory=dict)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The switches that can be set to true or false."""
        return tuple(each.name for each in fields(cls) if each.name != "keys")

    def row(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
