"""Who may ask: API key, timestamp against the wire's clock, and a signature over the raw characters that were sent.

The run's one secret signs with HMAC-SHA256; keys registered later sign with Ed25519 or with RSA (PKCS 1 v1.5 over SHA-256), as on Binance.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.errors import BAD_REQUEST, UNAUTHORIZED, WireError, forbidden, missing

DEFAULT_WINDOW_MS, LARGEST_WINDOW_MS = 5000, 60_000
AHEAD_MS = 1000  # how far a client's clock may run ahead
SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came: the raw query and body, and the key that was named."""

    query: str
    body: str
    api_key: str | None


def public_key(text: str) -> Ed25519PublicKey | RSAPublicKey:
    """A public key of its PEM; raises ValueError for anything else."""
    key = load_pem_public_key(text.encode())
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise ValueError(f"expected an Ed25519 or RSA public key, found {type(key).__name__}")
    return key


class Gatekeeper:
    """Knows the one key pair of this run, and the public keys registered since (PEM by API key; the mapping may grow)."""

    def __init__(self, api_key: str, secret: str, clock: WireClock, keys: Mapping[str, str]) -> None:
        self._api_key = api_key
        self._secret = secret.encode()
        self._clock = clock
        self._keys = keys
        self.revoked = False

    def check(self, request: Signed, parameters: Mapping[str, str]) -> None:
        """Let a signed request pass, or raise -2014, -2015, -1021, -1022 or -1102."""
        self.check_key(request.api_key)
        if "signature" not in parameters:
            raise missing("signature")
        self._check_time(parameters)
        # The raw string is what was signed: never a re-encoding of it. Query and body are joined without a separator.
        payload = SIGNATURE.sub("", request.query) + SIGNATURE.sub("", request.body)
        self._check_signature(request.api_key, payload, parameters["signature"])

    def check_message(self, parameters: Mapping[str, str]) -> None:
        """The same for a websocket request, whose parameters are signed in alphabetical order."""
        self.check_key(parameters.get("apiKey"))
        if "signature" not in parameters:
            raise missing("signature")
        self._check_time(parameters)
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "signature")
        self._check_signature(parameters.get("apiKey"), payload, parameters["signature"])

    def check_key(self, api_key: str | None) -> None:
        """A key must be named, and be ours."""
        if not api_key or not re.fullmatch(r"[A-Za-z0-9]{16,}", api_key):
            raise WireError(-2014, "API-key format invalid.", UNAUTHORIZED)
        if self.revoked or (api_key not in self._keys and not hmac.compare_digest(api_key, self._api_key)):
            raise forbidden()

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

    def _check_signature(self, api_key: str | None, payload: str, signature: str) -> None:
        if api_key is not None and api_key in self._keys:
            signed = _verified(self._keys[api_key], payload.encode(), signature)
        else:
            expected = hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()
            signed = hmac.compare_digest(expected.encode(), signature.lower().encode())
        if not signed:
            raise WireError(-1022, "Signature for this request is not valid.", BAD_REQUEST)


def _verified(pem: str, payload: bytes, signature: str) -> bool:
    key = public_key(pem)
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, RSAPublicKey):
            key.verify(raw, payload, PKCS1v15(), SHA256())
        else:
            key.verify(raw, payload)
    except (InvalidSignature, binascii.Error):
        return False
    return True
