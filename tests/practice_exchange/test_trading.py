"""Orders through unmodified ccxt: what fills at which price, and what is refused with which class."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from decimal import Decimal

import ccxt
import pytest

from configs.trading import CostSettings
from tests.practice_exchange.conftest import Serving

SYMBOL = "BTC/USDT"
COSTS = CostSettings()


@pytest.fixture(scope="module")
def exchange(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 11, "--symbols", "BTC/USDT,XRP/USDT", "--history-bars", 400, "--stream-bars", 400, "--deposit", 100_000_000)


@pytest.fixture(autouse=True)
def fresh_bar(exchange: Serving) -> None:
    """Every test meets a bar of which nothing was taken yet."""
    assert 1 == exchange.advance(1)["advanced"]


def opened(exchange: Serving) -> float:
    """The tradable price: the open of the forming bar."""
    return float(exchange.client.fetch_ohlcv(SYMBOL, "1h", None, 1)[0][1])


def bar_after(exchange: Serving) -> list[float]:
    """Move on one bar and return the one that was forming."""
    exchange.advance(1)
    return list(exchange.client.fetch_ohlcv(SYMBOL, "1h", None, 2)[0])


def price(exchange: Serving, factor: float) -> str:
    return str(exchange.client.price_to_precision(SYMBOL, opened(exchange) * factor))


def test_a_market_buy_pays_spread_impact_and_commission_in_base(exchange: Serving) -> None:
    before, open_price = exchange.balance(), opened(exchange)

    order = exchange.client.create_order(SYMBOL, "market", "buy", "2")

    after = exchange.balance()
    assert ("closed", 2.0) == (order["status"], order["filled"])
    assert open_price * (1 + COSTS.half_spread_bps * 1e-4) < order["average"] < open_price * (1 + (COSTS.half_spread_bps + COSTS.impact_bps) * 1e-4)
    assert {"currency": "BTC", "cost": 0.002} == order["fee"]
    assert 1.998 == pytest.approx(after["BTC"] - before.get("BTC", 0), abs=1e-9)
    assert order["cost"] == pytest.approx(before["USDT"] - after["USDT"], abs=1e-6)


def test_a_market_sell_pays_commission_in_quote(exchange: Serving) -> None:
    exchange.client.create_order(SYMBOL, "market", "buy", "1")
    before = exchange.balance()

    order = exchange.client.create_order(SYMBOL, "market", "sell", "0.5")

    assert "USDT" == order["fee"]["currency"]
    assert order["cost"] * 0.001 == pytest.approx(order["fee"]["cost"])
    assert order["cost"] * 0.999 == pytest.approx(exchange.balance()["USDT"] - before["USDT"])
    assert order["average"] < opened(exchange)


def test_the_price_of_a_fill_follows_the_cost_formula(exchange: Serving) -> None:
    open_price = opened(exchange)
    order = exchange.client.create_order(SYMBOL, "market", "buy", "3")

    volume = bar_after(exchange)[5]

    expected = open_price * (1 + (COSTS.half_spread_bps + COSTS.impact_bps * (3 / volume) ** 0.5) * 1e-4)
    assert expected <= order["average"] < expected + 0.0101


def test_orders_of_one_bar_cost_together_what_one_of_their_sum_costs(exchange: Serving) -> None:
    """Each price is rounded up to the tick, at most 0.01 a coin."""
    open_price = opened(exchange)
    orders = [exchange.client.create_order(SYMBOL, "market", "buy", amount) for amount in ("1", "0.5", "1.5")]

    volume = bar_after(exchange)[5]

    at_once = 3 * open_price * (1 + (COSTS.half_spread_bps + COSTS.impact_bps * (3 / volume) ** 0.5) * 1e-4)
    assert at_once - 1e-6 <= sum(order["cost"] for order in orders) < at_once + 3 * 0.01
    assert orders[0]["average"] < orders[1]["average"] < orders[2]["average"]


def test_an_order_in_quote_currency_spends_no_more(exchange: Serving) -> None:
    order = exchange.client.create_market_buy_order_with_cost(SYMBOL, 1000)

    assert 999 < order["cost"] <= 1000
    assert "closed" == order["status"]


def test_a_bar_gives_a_share_of_its_volume_and_the_rest_of_a_market_order_expires(exchange: Serving) -> None:
    first = exchange.client.create_order(SYMBOL, "market", "buy", "100")
    second = exchange.client.create_order(SYMBOL, "market", "buy", "1")

    volume = bar_after(exchange)[5]

    assert ("expired", "expired") == (first["status"], second["status"])
    assert COSTS.participation_cap * volume == pytest.approx(first["filled"], abs=1e-5)
    assert 0 == second["filled"]


def test_a_market_order_that_expired_in_part_can_be_read_back(exchange: Serving) -> None:
    order = exchange.client.create_order(SYMBOL, "market", "buy", "100", None, {"newClientOrderId": "partial-1"})

    found = exchange.client.fetch_order("", SYMBOL, {"origClientOrderId": "partial-1"})
    trades = exchange.client.fetch_my_trades(SYMBOL, None, None, {"orderId": order["id"]})

    assert order["filled"] == found["filled"] == pytest.approx(sum(trade["amount"] for trade in trades))
    assert "expired" == found["status"]


def test_fill_or_kill_is_all_or_nothing(exchange: Serving) -> None:
    generous = price(exchange, 1.01)

    too_much = exchange.client.create_order(SYMBOL, "limit", "buy", "100", generous, {"timeInForce": "FOK"})
    possible = exchange.client.create_order(SYMBOL, "limit", "buy", "1", generous, {"timeInForce": "FOK"})

    assert ("expired", 0.0) == (too_much["status"], too_much["filled"])
    assert ("closed", 1.0) == (possible["status"], possible["filled"])


def test_immediate_or_cancel_takes_what_its_limit_allows(exchange: Serving) -> None:
    limit = float(price(exchange, 1 + (COSTS.half_spread_bps + 2) * 1e-4))

    order = exchange.client.create_order(SYMBOL, "limit", "buy", "100", limit, {"timeInForce": "IOC"})

    assert "expired" == order["status"]
    assert 0 < order["filled"] < 100
    assert order["average"] <= limit


def test_a_limit_order_rests_until_a_bar_trades_through_it(exchange: Serving) -> None:
    limit = float(price(exchange, 0.998))
    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.5", limit)

    lows = []
    while exchange.client.fetch_order(order["id"], SYMBOL)["status"] == "open":
        lows.append(bar_after(exchange)[3])

    trade = exchange.client.fetch_my_trades(SYMBOL, None, None, {"orderId": order["id"]})[0]
    assert all(low >= limit for low in lows[:-1])
    assert lows[-1] < limit
    assert (limit, "maker", 0.5) == (trade["price"], trade["takerOrMaker"], trade["amount"])


def test_a_resting_order_locks_what_it_may_cost_and_cancelling_gives_it_back(exchange: Serving) -> None:
    before = exchange.client.fetch_balance()["USDT"]
    limit = float(price(exchange, 0.5))

    order = exchange.client.create_order(SYMBOL, "limit", "buy", "2", limit)
    during = exchange.client.fetch_balance()["USDT"]
    cancelled = exchange.client.cancel_order(order["id"], SYMBOL)

    assert 2 * limit == pytest.approx(during["used"] - before["used"])
    assert "canceled" == cancelled["status"]
    assert before == exchange.client.fetch_balance()["USDT"]


def test_a_post_only_order_that_would_take_is_refused(exchange: Serving) -> None:
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        exchange.client.create_order(SYMBOL, "limit", "buy", "0.1", price(exchange, 1.01), {"postOnly": True})

    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.1", price(exchange, 0.5), {"postOnly": True})
    assert "open" == order["status"]
    exchange.client.cancel_order(order["id"], SYMBOL)


def test_open_orders_all_orders_and_cancel_all(exchange: Serving) -> None:
    placed = [exchange.client.create_order(SYMBOL, "limit", "buy", "0.1", price(exchange, 0.5), {"newClientOrderId": f"many-{n}"}) for n in range(3)]
    ids = [order["id"] for order in placed]

    found = [order["id"] for order in exchange.client.fetch_open_orders()]
    exchange.client.cancel_all_orders(SYMBOL)

    assert ids == found
    assert [] == exchange.client.fetch_open_orders(SYMBOL)
    assert set(ids) <= {order["id"] for order in exchange.client.fetch_orders(SYMBOL)}
    assert set(ids) <= {str(order["orderId"]) for order in exchange.admin("/orders")}


def test_a_client_id_is_unique_among_open_orders_only(exchange: Serving) -> None:
    twice = {"newClientOrderId": "twice"}
    first = exchange.client.create_order(SYMBOL, "limit", "buy", "0.1", price(exchange, 0.5), twice)
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        exchange.client.create_order(SYMBOL, "limit", "buy", "0.1", price(exchange, 0.5), twice)

    exchange.client.cancel_order(first["id"], SYMBOL)
    again = exchange.client.create_order(SYMBOL, "market", "buy", "0.1", None, twice)

    assert first["id"] != again["id"]
    assert again["id"] == exchange.client.fetch_order("", SYMBOL, {"origClientOrderId": "twice"})["id"]


REJECTIONS = [
    (ccxt.InsufficientFunds, {"side": "BUY", "type": "MARKET", "quantity": "1000000"}, -2010),
    (ccxt.InvalidOrder, {"side": "BUY", "type": "MARKET", "quantity": "0.000012"}, -1013),
    (ccxt.InvalidOrder, {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "30000.001"}, -1013),
    (ccxt.BadRequest, {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.0001", "price": "30000"}, -1013),
    (ccxt.BadRequest, {"side": "BUY", "type": "MARKET", "quantity": "0.00001"}, -1013),
    (ccxt.BadRequest, {"side": "BUY", "type": "MARKET", "quantity": "0.123456789"}, -1111),
    (ccxt.BadRequest, {"side": "BUY", "type": "MARKET"}, -1102),
    (ccxt.BadRequest, {"side": "BUY", "type": "LIMIT", "quantity": "1", "price": "30000"}, -1102),
    (ccxt.BadRequest, {"side": "HOLD", "type": "MARKET", "quantity": "1"}, -1117),
    (ccxt.BadRequest, {"side": "BUY", "type": "STOP_LOSS", "quantity": "1"}, -1102),
    (ccxt.BadRequest, {"side": "BUY", "type": "WISH", "quantity": "1"}, -1116),
    (ccxt.BadRequest, {"side": "BUY", "type": "MARKET", "quantity": "1", "price": "1"}, -1106),
    (ccxt.BadRequest, {"side": "BUY", "type": "MARKET", "quantity": "-1"}, -1100),
    (ccxt.BadSymbol, {"symbol": "NOPEUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}, -1121),
]


@pytest.mark.parametrize(("expected", "parameters", "code"), REJECTIONS, ids=[f"{code}-{number}" for number, (_, _, code) in enumerate(REJECTIONS)])
def test_a_refusal_has_binances_code_and_ccxts_class(exchange: Serving, expected: type[Exception], parameters: dict[str, str], code: int) -> None:
    with pytest.raises(expected) as refused:
        exchange.client.private_post_order({"symbol": "BTCUSDT", **parameters})

    body = json.loads(exchange.client.last_http_response)
    assert code == body["code"]
    assert isinstance(refused.value, ccxt.ExchangeError)


QUESTIONS = [
    ("public_get_klines", {"symbol": "BTCUSDT"}, -1102),
    ("public_get_klines", {"interval": "1h"}, -1102),
    ("public_get_klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": "ten"}, -1100),
    ("private_get_order", {"symbol": "BTCUSDT"}, -1102),
    ("private_delete_openorders", {"symbol": "BTCUSDT"}, -2011),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "newOrderRespType": "SONG"}, -1100),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "newClientOrderId": "no spaces please"}, -1100),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "timeInForce": "GTC"}, -1106),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "quoteOrderQty": "1"}, -1128),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "DAY", "quantity": "1", "price": "1"}, -1115),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0", "price": "1"}, -1013),
    ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}, -1102),
    ("private_get_account", {"recvWindow": 60001}, -1131),
]


@pytest.mark.parametrize(("name", "parameters", "code"), QUESTIONS, ids=[f"{name}-{code}-{number}" for number, (name, _, code) in enumerate(QUESTIONS)])
def test_a_question_that_makes_no_sense_has_binances_code(exchange: Serving, name: str, parameters: dict[str, str], code: int) -> None:
    with pytest.raises(ccxt.BaseError):
        getattr(exchange.client, name)(parameters)

    assert code == json.loads(exchange.client.last_http_response)["code"]


@pytest.mark.parametrize(("kind", "fields"), [("ACK", 5), ("RESULT", 16), ("FULL", 17)])
def test_the_answer_is_as_long_as_was_asked(exchange: Serving, kind: str, fields: int) -> None:
    request = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "newOrderRespType": kind}

    assert fields == len(exchange.client.private_post_order(request))


def test_the_commission_can_be_asked_for(exchange: Serving) -> None:
    assert COSTS.fee_rate == exchange.client.fetch_trading_fee(SYMBOL)["taker"]
    assert {"BTC/USDT", "XRP/USDT"} == set(exchange.client.fetch_trading_fees())


def test_our_trades_can_be_paged_by_id(exchange: Serving) -> None:
    ids = [exchange.client.create_order(SYMBOL, "market", "buy", "0.01")["trades"][0]["id"] for _ in range(3)]

    page = exchange.client.fetch_my_trades(SYMBOL, None, 2, {"fromId": ids[1]})

    assert ids[1:] == [trade["id"] for trade in page]


def test_a_resting_sell_fills_above_and_pays_commission_in_quote(exchange: Serving) -> None:
    exchange.client.create_order(SYMBOL, "market", "buy", "1")
    limit = float(price(exchange, 1.0005))
    order = exchange.client.create_order(SYMBOL, "limit", "sell", "0.5", limit)
    while exchange.client.fetch_order(order["id"], SYMBOL)["status"] == "open":
        exchange.advance(1)

    trade = exchange.client.fetch_my_trades(SYMBOL, None, None, {"orderId": order["id"]})[0]
    assert (limit, "sell", "maker") == (trade["price"], trade["side"], trade["takerOrMaker"])
    assert {"currency": "USDT", "cost": pytest.approx(0.5 * limit * 0.001)} == trade["fee"]


def test_orders_that_do_not_exist(exchange: Serving) -> None:
    with pytest.raises(ccxt.OrderNotFound, match="-2013"):
        exchange.client.fetch_order("999999", SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        exchange.client.cancel_order("999999", SYMBOL)


def test_an_order_can_be_tried_without_placing_it(exchange: Serving) -> None:
    before = len(exchange.admin("/orders"))

    answer = exchange.client.create_order(SYMBOL, "market", "buy", "0.1", None, {"test": True})

    assert answer["id"] is None
    assert before == len(exchange.admin("/orders"))


def test_our_fills_never_change_the_printed_bars(serve: Callable[..., Serving]) -> None:
    options = ("--seed", 5, "--symbols", SYMBOL, "--history-bars", 20, "--stream-bars", 10, "--deposit", 10_000_000)
    busy, quiet = serve(*options), serve(*options)

    for _ in range(5):
        busy.client.create_order(SYMBOL, "market", "buy", "5")
        busy.advance(1)
    quiet.advance(5)

    assert quiet.client.fetch_ohlcv(SYMBOL, "1h") == busy.client.fetch_ohlcv(SYMBOL, "1h")
    assert quiet.client.fetch_order_book(SYMBOL) == busy.client.fetch_order_book(SYMBOL)


def test_at_the_end_of_the_tape_the_market_is_closed(serve: Callable[..., Serving]) -> None:
    exchange = serve("--seed", 5, "--symbols", SYMBOL, "--history-bars", 20, "--stream-bars", 3)

    moved = exchange.advance(10)

    assert (3, exchange.market["ends_at"]) == (moved["advanced"], moved["now"])
    with pytest.raises(ccxt.MarketClosed):
        exchange.client.create_order(SYMBOL, "market", "buy", "0.1")


def test_a_symbol_has_room_for_two_hundred_open_orders(exchange: Serving) -> None:
    request = {"symbol": "XRPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1000", "price": "0.1"}
    for _ in range(200):
        exchange.client.private_post_order(request)

    with pytest.raises(ccxt.BadRequest, match="MAX_NUM_ORDERS"):
        exchange.client.private_post_order(request)

    exchange.client.cancel_all_orders("XRP/USDT")
    assert [] == exchange.client.fetch_open_orders("XRP/USDT")


def test_orders_sent_at_once_are_all_booked(exchange: Serving) -> None:
    before = Decimal(str(exchange.balance()["BTC"]))
    exchange.advance(1)

    def buy(number: int) -> None:
        client = ccxt.binance(exchange.config())
        client.set_markets(exchange.client.markets)
        client.create_order(SYMBOL, "market", "buy", "0.1", None, {"newClientOrderId": f"at-once-{number}"})

    threads = [threading.Thread(target=buy, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Decimal("0.7992") == Decimal(str(exchange.balance()["BTC"])) - before
