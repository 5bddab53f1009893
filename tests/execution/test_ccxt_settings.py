"""The constructor config: nothing but loopback, and every error code means what it means on Binance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from desk.execution.ccxt_settings import constructor_config, printable

REST, WS = "http://127.0.0.1:4321", "ws://127.0.0.1:4321"
REAL_ORDER_URL = "https://api.binance.com/api/v3/order"


def addresses(tree: Any) -> Iterator[str]:
    """Every text with a scheme, however deep."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from addresses(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from addresses(value)
    elif isinstance(tree, str) and "://" in tree:
        yield tree


def outcome(exchange: Any, url: str, body: dict[str, Any]) -> str:
    """The class that ccxt raises for a 400 with this body."""
    text = json.dumps(body)
    try:
        exchange.handle_errors(400, "Bad Request", url, "POST", {}, text, body, {}, "")
    except ccxt.BaseError as error:
        return type(error).__name__
    return "nothing"


@pytest.mark.parametrize("kind", [ccxt.binance, ccxt.pro.binance])
def test_no_address_but_loopback_is_left(kind: Any) -> None:
    exchange = kind(constructor_config(REST, WS, "key", "secret"))

    foreign = [address for address in addresses(exchange.urls) if not address.startswith(("http://127.0.0.1:", "ws://127.0.0.1:"))]

    assert foreign == []


def test_what_is_served_leads_to_the_exchange() -> None:
    urls = ccxt.pro.binance(constructor_config(REST, WS, "key", "secret")).urls["api"]

    assert f"{REST}/api/v3" == urls["private"]
    assert f"{REST}/sapi/v1" == urls["sapi"]
    assert f"{WS}/stream/ws" == urls["ws"]["spot"]
    assert f"{WS}/ws-api/v3" == urls["ws"]["ws-api"]["spot"]


def test_every_error_code_and_message_maps_as_on_the_real_address() -> None:
    """ccxt picks its table by the real URL's beginning; without the merged table many spot codes would change their class."""
    real, ours = ccxt.binance(), ccxt.binance(constructor_config(REST, WS, "key", "secret"))
    names = {
        name for table in real.exceptions.values() for part in (table if isinstance(table, dict) else {}).values() if isinstance(part, dict) for name in part
    }
    names |= set(real.exceptions["exact"]) | set(real.exceptions["broad"])
    codes = sorted(int(name) for name in names if name.lstrip("-").isdigit())
    bodies = [{"code": code, "msg": "as it may be"} for code in codes] + [{"code": -1, "msg": name} for name in sorted(names) if not name.lstrip("-").isdigit()]

    different = [body for body in bodies if outcome(real, REAL_ORDER_URL, body) != outcome(ours, f"{REST}/api/v3/order", body)]

    assert len(codes) > 300
    assert different == []


def test_without_the_merged_table_many_codes_would_differ() -> None:
    """Guards the test above against comparing nothing."""
    real, plain = ccxt.binance(), ccxt.binance(printable(constructor_config(REST, WS, "key", "secret")))
    codes = [int(name) for name in real.exceptions["spot"]["exact"] if name.lstrip("-").isdigit()]

    different = [
        code for code in codes if outcome(real, REAL_ORDER_URL, {"code": code, "msg": ""}) != outcome(plain, f"{REST}/api/v3/order", {"code": code, "msg": ""})
    ]

    assert len(different) > 50


def test_the_printable_part_survives_json() -> None:
    config = printable(constructor_config(REST, WS, "key", "secret"))

    assert config == json.loads(json.dumps(config))
