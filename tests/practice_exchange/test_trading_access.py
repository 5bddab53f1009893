"""Who may ask: wrong keys, signatures and clocks are refused with their class, and our key moves nothing out."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import ccxt
import pytest

from tests.practice_exchange.conftest import Serving


@pytest.fixture(scope="module")
def exchange(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 11, "--symbols", "BTC/USDT", "--history-bars", 20, "--stream-bars", 10)


def raw(exchange: Serving, path: str, headers: dict[str, str] | None = None) -> Any:
    """A GET without ccxt; errors come back as (status, body)."""
    request = urllib.request.Request(exchange.greeting["rest"] + path, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_wrong_secret_is_refused(exchange: Serving) -> None:
    stranger = ccxt.binance({**exchange.config(), "secret": "wrong"})

    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        stranger.private_get_account()


@pytest.mark.parametrize(("key", "code"), [("k" * 64, -2015), ("short", -2014)])
def test_a_wrong_key_is_refused(exchange: Serving, key: str, code: int) -> None:
    stranger = ccxt.binance({**exchange.config(), "apiKey": key})

    with pytest.raises(ccxt.AuthenticationError, match=str(code)):
        stranger.private_get_account()


def test_an_unsigned_question_is_refused(exchange: Serving) -> None:
    key = {"X-MBX-APIKEY": exchange.greeting["api_key"]}

    assert (401, -2014) == (lambda answer: (answer[0], answer[1]["code"]))(raw(exchange, "/api/v3/account"))
    assert (400, -1102) == (lambda answer: (answer[0], answer[1]["code"]))(raw(exchange, "/api/v3/account", key))


@pytest.mark.parametrize("shift_ms", [-6000, 3000])
def test_a_clock_outside_the_receive_window_is_refused(exchange: Serving, shift_ms: int) -> None:
    """Signatures are judged by wall time, though market time stands years away from it."""
    client = ccxt.binance(exchange.config())
    client.options["timeDifference"] = -shift_ms

    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        client.private_get_account()


def test_a_tampered_amount_breaks_the_signature(exchange: Serving) -> None:
    client = exchange.client
    signed = client.sign("order", ["private"], "POST", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"})
    body = signed["body"].replace("quantity=1", "quantity=2").encode()
    request = urllib.request.Request(signed["url"], body, signed["headers"])

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)

    assert -1022 == json.load(refused.value)["code"]


def test_the_key_may_trade_and_move_nothing_out(exchange: Serving) -> None:
    rights = exchange.client.sapi_get_account_apirestrictions()

    assert rights["enableReading"]
    assert rights["enableSpotAndMarginTrading"]
    assert not any(rights[name] for name in ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer"))
