"""What an exchange's refusal means to us: ccxt's exceptions, translated into the desk's own by what the caller may do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from desk.errors import ContractBroken, NetworkDown, PreflightFailed, RateLimited, VenueBusy


@contextmanager
def asking(question: str) -> Iterator[None]:
    """Run one question to the exchange (never an order: those have outcomes, not errors). `question` names it in the message."""
    import ccxt  # a heavy import, kept off the paths that never talk to an exchange

    try:
        yield
    except (ccxt.DDoSProtection, ccxt.RateLimitExceeded) as error:
        raise RateLimited(f"expected an answer to {question}, found a request to slow down ({error}): wait, then ask again") from error
    except (ccxt.AuthenticationError, ccxt.InvalidNonce) as error:
        raise PreflightFailed(f"expected {question} to be allowed, found {error}: check the key's permissions, its address list and this clock") from error
    except (ccxt.ExchangeNotAvailable, ccxt.RequestTimeout) as error:
        raise NetworkDown(f"expected an answer to {question}, found {error}: check the connection, then ask again") from error
    except ccxt.BadRequest as error:
        raise ContractBroken(f"expected the exchange to understand {question}, found {error}: check symbols and limits") from error
    except ccxt.NetworkError as error:
        raise NetworkDown(f"expected an answer to {question}, found {error}: check the connection, then ask again") from error
    except ccxt.BaseError as error:
        raise VenueBusy(f"expected an answer to {question}, found {error}: ask again later") from error
