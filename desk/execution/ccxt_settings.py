"""The constructor config that makes an unmodified ccxt.binance or ccxt.pro.binance talk to an exchange on loopback, and to nothing else.

Every URL that ccxt knows is rewritten: those the practice exchange serves lead there, all others to a port that refuses. ccxt chooses its table
of errors by the real URL's beginning; the dialect's table is merged into the general one, so that every code means what it means on Binance.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

REFUSED = "http://127.0.0.1:1/"
# A request that is late by more than this dies at the exchange.
RECEIVE_WINDOW_MS = 5000
# Two pongs missed at this distance give a frozen socket up within six seconds.
KEEP_ALIVE_MS = 2_000

# Path under the REST address for each of ccxt's names.
SERVED = {"public": "/api/v3", "private": "/api/v3", "v1": "/api/v1", "sapi": "/sapi/v1", "sapiV2": "/sapi/v2", "sapiV3": "/sapi/v3", "sapiV4": "/sapi/v4"}
# ccxt tells spot from futures by "/stream" in the address.
STREAM_PATH, MESSAGE_PATH = "/stream/ws", "/ws-api/v3"
SERVED_LINEAR = {f"fapi{access}{version}": f"/fapi/{version.lower() or 'v1'}" for access in ("Public", "Private") for version in ("", "V2", "V3")}
# ccxt puts /public, /market or /private before the end, which must be exactly "/ws".
LINEAR_STREAM_PATH = "/fstream/ws"
# Which of ccxt's addresses leads to public market data.
FACADE_ADDRESS = {"kraken": "public", "coinbase": "rest"}


class Dialect(StrEnum):
    """Which of Binance's markets a client is for: ccxt has a table of errors for each, so that one client serves one of them."""

    SPOT = "spot"  # ccxt.binance
    LINEAR = "linear"  # ccxt.binanceusdm: USD-M perpetuals

    @property
    def client(self) -> str:
        """The ccxt class that speaks it."""
        return "binance" if self is Dialect.SPOT else "binanceusdm"


def constructor_config(rest_url: str, ws_url: str, api_key: str, secret: str, dialect: Dialect = Dialect.SPOT) -> dict[str, Any]:
    """Config for the ccxt class of a dialect, its async and its pro twin. `rest_url` http://127.0.0.1:PORT, `ws_url` ws://127.0.0.1:PORT, no slash after."""
    import ccxt.pro

    known = ccxt.pro.binance.describe(ccxt.pro.binance())
    urls = _refused(known["urls"])
    urls["api"].update({name: rest_url + path for name, path in SERVED.items()})
    urls["api"]["ws"].update({"spot": ws_url + STREAM_PATH, "margin": ws_url + STREAM_PATH})
    urls["api"]["ws"]["ws-api"]["spot"] = ws_url + MESSAGE_PATH
    if dialect is Dialect.LINEAR:
        urls["api"].update({name: rest_url + path for name, path in SERVED_LINEAR.items()})
        urls["api"]["ws"]["linear"] = ws_url + LINEAR_STREAM_PATH
    codes = known["exceptions"][dialect.value]
    return {
        "apiKey": api_key,
        "secret": secret,
        "urls": urls,
        "exceptions": {table: {**known["exceptions"][table], **codes.get(table, {})} for table in ("exact", "broad")},
        "streaming": {"keepAlive": KEEP_ALIVE_MS},
        # The exchange on loopback counts request weight by itself; ccxt's throttle would only make every page wait.
        "enableRateLimit": False,
        "options": {
            "defaultType": "spot" if dialect is Dialect.SPOT else "swap",
            "fetchMarkets": {"types": [dialect.value]},
            "recvWindow": RECEIVE_WINDOW_MS,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
    }


def facade_config(name: str, url: str) -> dict[str, Any]:
    """Config for ccxt.kraken or ccxt.coinbase (`name`): public market data from a practice exchange's face of it at `url`, and nothing else."""
    import ccxt

    urls = _refused(getattr(ccxt, name)().describe()["urls"])
    urls["api"][FACADE_ADDRESS[name]] = url
    return {"urls": urls, "enableRateLimit": False}


def printable(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a constructor config that JSON can carry: all but the table of errors, whose values are ccxt's classes. It reaches the same exchange."""
    return {name: value for name, value in config.items() if name != "exceptions"}


def _refused(urls: Any) -> Any:
    """The same tree with every text that is an address replaced by one that refuses."""
    if isinstance(urls, dict):
        return {name: _refused(value) for name, value in urls.items()}
    if isinstance(urls, list):
        return [_refused(value) for value in urls]
    return REFUSED if isinstance(urls, str) and "://" in urls else urls
