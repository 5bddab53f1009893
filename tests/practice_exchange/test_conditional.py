"""Stops, take-profits, trailing orders, lists and replacements through unmodified ccxt, against the bars that the exchange prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.practice_exchange.conftest import Serving

SYMBOL, ID = "BTC/USDT", "BTCUSDT"
MOST_BARS = 300


@pytest.fixture(scope="module")
def stage(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 11, "--symbols", "BTC/USDT,BNB/USDT", "--history-bars", 100, "--stream-bars", 2000, "--deposit", 5_000_000)


@pytest.fixture(autouse=True)
def clean(stage: Serving) -> None:
    """No open orders, 10 BTC at least, and a bar of which nothing was taken."""
    if stage.client.fetch_open_orders(SYMBOL):
        stage.client.cancel_all_orders(SYMBOL)
    stage.advance(1)
    if stage.balance().get("BTC", 0) < 10:
        stage.client.create_order(SYMBOL, "market", "buy", "12")
        stage.advance(1)


def opened(stage: Serving) -> float:
    return float(stage.client.fetch_ohlcv(SYMBOL, "1h", None, 1)[0][1])


def at(stage: Serving, factor: float) -> str:
    return str(stage.client.price_to_precision(SYMBOL, opened(stage) * factor))


def until_done(stage: Serving, order_id: str) -> tuple[dict[str, Any], list[list[float]]]:
    """Move on until the order is done; the order and the bars that passed."""
    bars = []
    for _ in range(MOST_BARS):
        order = stage.client.fetch_order(order_id, SYMBOL)
        if order["status"] != "open":
            return order, bars
        stage.advance(1)
        bars.append(stage.client.fetch_ohlcv(SYMBOL, "1h", None, 2)[0])
    raise AssertionError(f"order {order_id} is still open")


@pytest.mark.parametrize(
    ("side", "kind", "factor"),
    [("sell", "stopLossPrice", 0.995), ("buy", "stopLossPrice", 1.005), ("sell", "takeProfitPrice", 1.005), ("buy", "takeProfitPrice", 0.995)],
)
def test_a_market_order_sleeps_until_the_price_reaches_its_trigger(stage: Serving, side: str, kind: str, factor: float) -> None:
    trigger = at(stage, factor)

    placed = stage.client.create_order(SYMBOL, "market", side, "0.5", None, {kind: trigger})
    asleep = json.loads(json.dumps(stage.client.private_get_order({"symbol": ID, "orderId": placed["id"]})))
    done, bars = until_done(stage, placed["id"])

    level, rises = float(trigger), factor > 1
    reached = [bar[2] >= level if rises else bar[3] <= level for bar in bars]
    assert asleep["isWorking"] in (False, "false")
    assert ("closed", 0.5) == (done["status"], done["filled"])
    assert level == pytest.approx(done["average"], rel=0.01)
    assert not any(reached[:-1])


def test_a_stop_limit_order_never_fills_below_its_limit(stage: Serving) -> None:
    stop, limit = at(stage, 0.995), at(stage, 0.99)

    placed = stage.client.create_order(SYMBOL, "limit", "sell", "0.5", limit, {"stopPrice": stop})
    done, _ = until_done(stage, placed["id"])

    assert "STOP_LOSS_LIMIT" == done["info"]["type"]
    assert done["average"] >= float(limit)


def test_a_trailing_stop_sells_after_a_fall_from_the_highest_price(stage: Serving) -> None:
    start = opened(stage)

    placed = stage.client.create_order(SYMBOL, "market", "sell", "0.5", None, {"trailingPercent": 2, "stopLossOrTakeProfit": "stopLoss"})
    done, bars = until_done(stage, placed["id"])

    highest = max([start, *(bar[2] for bar in bars)])
    lowest_reference = max([start, *(bar[2] for bar in bars[:-1])])
    assert ("closed", 0.5) == (done["status"], done["filled"])
    assert lowest_reference * 0.98 * 0.995 <= done["average"] <= highest * 0.98


def test_a_stop_on_the_wrong_side_would_trigger_at_once(stage: Serving) -> None:
    with pytest.raises(ccxt.OrderImmediatelyFillable, match="trigger immediately"):
        stage.client.create_order(SYMBOL, "market", "sell", "0.5", None, {"stopLossPrice": at(stage, 1.01)})


def oco(stage: Serving, up: float, down: float, **more: str) -> dict[str, Any]:
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": at(stage, up), "belowType": "STOP_LOSS", "belowStopPrice": at(stage, down)}
    return dict(stage.client.private_post_orderlist_oco({"symbol": ID, "side": "SELL", "quantity": "0.5", **legs, **more}))


def test_one_leg_of_a_list_ends_the_other_and_money_is_reserved_once(stage: Serving) -> None:
    before = stage.client.fetch_balance()["BTC"]

    listed = oco(stage, 1.004, 0.996)
    during = stage.client.fetch_balance()["BTC"]
    legs = [str(each["orderId"]) for each in listed["orders"]]
    first, _ = until_done(stage, legs[0])
    second, _ = until_done(stage, legs[1])

    after = stage.client.private_get_orderlist({"orderListId": listed["orderListId"]})
    assert 0.5 == pytest.approx(during["used"] - before["used"])
    assert {"closed", "expired"} == {first["status"], second["status"]}
    assert 0.5 == pytest.approx(before["total"] - stage.client.fetch_balance()["BTC"]["total"])
    assert "ALL_DONE" == after["listOrderStatus"]
    assert 0 == stage.client.fetch_balance()["BTC"]["used"]


def test_cancelling_one_leg_or_the_list_cancels_both(stage: Serving) -> None:
    one, two = oco(stage, 1.4, 0.6), oco(stage, 1.5, 0.5, listClientOrderId="whole")

    stage.client.cancel_order(str(one["orders"][1]["orderId"]), SYMBOL)
    stage.client.private_delete_orderlist({"symbol": ID, "listClientOrderId": two["listClientOrderId"]})

    assert [] == stage.client.fetch_open_orders(SYMBOL)
    assert 0 == stage.client.fetch_balance()["BTC"]["used"]
    with pytest.raises(ccxt.OrderNotFound):
        stage.client.private_delete_orderlist({"symbol": ID, "orderListId": two["orderListId"]})


def test_a_list_needs_prices_on_both_sides_of_the_market(stage: Serving) -> None:
    with pytest.raises(ccxt.BaseError, match="relationship of the prices"):
        oco(stage, 0.999, 0.9)


def test_a_replaced_order_is_gone_and_the_new_one_rests(stage: Serving) -> None:
    old = stage.client.create_order(SYMBOL, "limit", "buy", "0.5", at(stage, 0.5))

    new = stage.client.edit_order(old["id"], SYMBOL, "limit", "buy", "0.6", at(stage, 0.51))

    assert "canceled" == stage.client.fetch_order(old["id"], SYMBOL)["status"]
    assert [new["id"]] == [order["id"] for order in stage.client.fetch_open_orders(SYMBOL)]


def replace(stage: Serving, order_id: str, mode: str, quantity: str = "0.5") -> tuple[int, dict[str, Any]]:
    """A replacement that must fail: its code and both halves."""
    wanted = {"symbol": ID, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity, "price": at(stage, 0.5)}
    with pytest.raises(ccxt.BaseError):
        stage.client.private_post_order_cancelreplace({**wanted, "cancelReplaceMode": mode, "cancelOrderId": order_id})
    body = json.loads(stage.client.last_http_response)
    return body["code"], body["data"]


def test_a_replacement_can_fail_by_half(stage: Serving) -> None:
    old = stage.client.create_order(SYMBOL, "limit", "buy", "0.5", at(stage, 0.5))

    stopped = replace(stage, "999999", "STOP_ON_FAILURE")
    unpaid = replace(stage, old["id"], "STOP_ON_FAILURE", "400")
    placed = replace(stage, "999999", "ALLOW_FAILURE")
    neither = replace(stage, "999999", "ALLOW_FAILURE", "400")

    halves = [(code, data["cancelResult"], data["newOrderResult"]) for code, data in (stopped, unpaid, placed, neither)]
    expected = [
        (-2022, "FAILURE", "NOT_ATTEMPTED"),
        (-2021, "SUCCESS", "FAILURE"),
        (-2021, "FAILURE", "SUCCESS"),
        (-2022, "FAILURE", "FAILURE"),
    ]
    assert expected == halves
    assert "canceled" == stage.client.fetch_order(old["id"], SYMBOL)["status"]


def test_commission_is_paid_in_the_coin_when_it_is_switched_on_and_held(stage: Serving) -> None:
    stage.admin("/deposit", {"asset": "BNB", "amount": "10"})
    stage.client.sapi_post_bnbburn({"spotBNBBurn": "true"})
    coin = float(stage.client.fetch_ohlcv("BNB/USDT", "1h", None, 1)[0][1])

    order = stage.client.create_order(SYMBOL, "market", "buy", "0.5")
    stage.client.sapi_post_bnbburn({"spotBNBBurn": "false"})

    assert "BNB" == order["fee"]["currency"]
    assert order["cost"] * 0.00075 / coin == pytest.approx(order["fee"]["cost"], abs=1e-8)


def test_money_that_comes_and_goes_is_in_the_ledger_and_in_the_history(stage: Serving) -> None:
    before = stage.balance()["USDT"]

    stage.admin("/deposit", {"asset": "USDT", "amount": "250.5"})
    stage.admin("/withdraw", {"asset": "USDT", "amount": "50.5"})

    assert 200 == pytest.approx(stage.balance()["USDT"] - before)
    assert Decimal("250.5") == Decimal(str(stage.client.fetch_deposits("USDT")[-1]["amount"]))
    assert Decimal("50.5") == Decimal(str(stage.client.fetch_withdrawals("USDT")[-1]["amount"]))
    with pytest.raises(OSError, match="400"):
        stage.admin("/withdraw", {"asset": "USDT", "amount": "1e15"})


def test_a_key_without_the_right_to_trade_may_only_read(stage: Serving) -> None:
    stage.admin("/terms", {"trading": False, "withdrawals": True})

    rights = stage.client.sapi_get_account_apirestrictions()
    with pytest.raises(ccxt.BaseError, match="-2015"):
        ccxt.binance(stage.config()).private_post_order({"symbol": ID, "side": "BUY", "type": "MARKET", "quantity": "0.1"})
    stage.admin("/terms", {"trading": True, "withdrawals": False})

    assert (False, True) == (rights["enableSpotAndMarginTrading"], rights["enableWithdrawals"])
    assert stage.client.create_order(SYMBOL, "market", "buy", "0.1")["id"]


def exhaust(stage: Serving) -> None:
    """Order until it is refused, three times at most."""
    for _ in range(3):
        stage.client.create_order(SYMBOL, "market", "buy", "0.01")


def test_too_many_new_orders_are_answered_1015(stage: Serving) -> None:
    stage.admin("/limits", {"orders": 2})
    stage.advance(1)

    for _ in range(2):
        stage.client.create_order(SYMBOL, "market", "buy", "0.01")
    # A window of the wall's clock may have begun in between: at most two more orders fit.
    with pytest.raises(ccxt.DDoSProtection, match="-1015"):
        exhaust(stage)
    headers = stage.client.last_response_headers
    stage.admin("/limits", {"orders": 1_000_000})

    assert 0 < int(headers["Retry-After"]) <= 11
    assert int(headers["X-Mbx-Order-Count-10s"]) >= 3


def test_one_who_goes_on_asking_after_429_is_banned(serve: Callable[..., Serving]) -> None:
    hasty = serve("--symbols", SYMBOL, "--history-bars", 10, "--stream-bars", 5, "--weight-limit", 60)

    codes = []
    for _ in range(100):
        try:
            hasty.client.public_get_exchangeinfo()
        except ccxt.DDoSProtection as refusal:
            codes.append(str(refusal).split()[1])
    hasty.admin("/limits", {"weight": 6000})

    assert ["429", "418"] == list(dict.fromkeys(codes))
    assert hasty.client.fetch_time()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_registered_key_signs_requests(stage: Serving, kind: str) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    private = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
    secret = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()

    api_key = stage.admin("/keys", {"public_key": public})["api_key"]
    client = ccxt.binance({**stage.config(), "apiKey": api_key, "secret": secret})
    stolen = ccxt.binance({**stage.config(), "apiKey": api_key})

    assert "SPOT" == client.private_get_account()["accountType"]
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        stolen.private_get_account()
