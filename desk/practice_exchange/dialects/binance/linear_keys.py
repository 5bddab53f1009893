"""Listen keys: what opens a user stream of the contract side. One at a time, good for an hour of the wire's clock unless it is extended."""

from __future__ import annotations

import secrets

from desk.practice_exchange.clock import MINUTE_MS, WireClock

LIFE_MS = 60 * MINUTE_MS
KEY_BYTES = 32


class ListenKeys:
    """The key of the account, if there is one."""

    def __init__(self, clock: WireClock) -> None:
        self._clock = clock
        self._key: str | None = None
        self._until_ms = 0

    def issue(self) -> str:
        """The key that lives, extended, or a new one."""
        if self.current is None:
            self._key = secrets.token_hex(KEY_BYTES)
        self._until_ms = self._clock.milliseconds() + LIFE_MS
        return self._key or ""

    def extend(self) -> str | None:
        """Let the key live another hour; None when there is none."""
        return None if self.current is None else self.issue()

    def close(self) -> None:
        """End the key."""
        self._until_ms = 0

    @property
    def current(self) -> str | None:
        """The key that lives, or None."""
        return self._key if self._clock.milliseconds() < self._until_ms else None
