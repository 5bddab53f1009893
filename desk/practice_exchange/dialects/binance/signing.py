"""Who may ask: API key, timestamp against the wire's clock, and HMAC-SHA256 over the raw characters that were sent."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.errors import BAD_REQUEST, UNAUTHORIZED, WireError, missing

DEFAULT_WINDOW_MS, LARGEST_WINDOW_MS = 5000, 60_000
AHEAD_MS = 1000  # how far a client's clock may run ahead
SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came: the raw query and body, and the key that was named."""

    query: str
    body: str
    api_key: str | None


class Gatekeeper:
    """Knows the one key pair of this run."""

    def __init__(self, api_key: str, secret: str, clock: WireClock) -> None:
        self._api_key = api_key
        self._secret = secret.encode()
        self._clock = clock

    def check(self, request: Signed, parameters: Mapping[str, str]) -> None:
        """Let a signed request pass, or raise -2014, -2015, -1021, -1022 or -1102."""
        self.check_key(request.api_key)
        if "signature" not in parameters:
            raise missing("signature")
        self._check_time(parameters)
        # The raw string is what was signed: never a re-encoding of it. Query and body are joined without a separator.
        payload = SIGNATURE.sub("", request.query) + SIGNATURE.sub("", request.body)
        self._check_signature(payload, parameters["signature"])

    def check_message(self, parameters: Mapping[str, str]) -> None:
        """The same for a websocket request, whose parameters are signed in alphabetical order."""
        self.check_key(parameters.get("apiKey"))
        if "signature" not in parameters:
            raise missing("signature")
        self._check_time(parameters)
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "signature")
        self._check_signature(payload, parameters["signature"])

    def check_key(self, api_key: str | None) -> None:
        """A key must be named, and be ours."""
        if not api_key or not re.fullmatch(r"[A-Za-z0-9]{16,}", api_key):
            raise WireError(-2014, "API-key format invalid.", UNAUTHORIZED)
        if not hmac.compare_digest(api_key, self._api_key):
            raise WireError(-2015, "Invalid API-key, IP, or permissions for action.", UNAUTHORIZED)

    def _check_time(self, parameters: Mapping[str, str]) -> None:
        if not parameters.get("timestamp", "").isdigit():
            raise missing("timestamp")
        sent = int(parameters["timestamp"])
        window = parameters.get("recvWindow", str(DEFAULT_WINDOW_MS))
        if not window.isdigit():
            raise missing("recvWindow")
        if int(window) > LARGEST_WINDOW_MS:
            raise WireError(-1131, f"recvWindow must be less than {LARGEST_WINDOW_MS}.")
        now = self._clock.milliseconds()
        if sent >= now + AHEAD_MS:
            raise WireError(-1021, f"Timestamp for this request was {AHEAD_MS}ms ahead of the server's time.")
        if now - sent > int(window):
            raise WireError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def _check_signature(self, payload: str, signature: str) -> None:
        expected = hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise WireError(-1022, "Signature for this request is not valid.", BAD_REQUEST)
