"""Faults on demand: what the client sees, and whether the exchange did what it was asked all the same."""

from __future__ import annotations

import asyncio
import urllib.error
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from desk.practice_exchange.faults import BadFault, Fault, FaultKind, Faults, Request, fault_of
from tests.practice_exchange.conftest import SYMBOL, Serving, buy

ORDER = "/api/v3/order"


def placed(exchange: Serving, client_id: str) -> bool:
    return any(order["clientOrderId"] == client_id for order in exchange.admin("/orders"))


SYNC = [
    ({"kind": "drop"}, ccxt.NetworkError, True),
    ({"kind": "drop", "before": True}, ccxt.NetworkError, False),
    ({"kind": "truncate"}, ccxt.NetworkError, True),
    ({"kind": "http", "status": 503}, ccxt.ExchangeNotAvailable, True),
    ({"kind": "http", "status": 504, "before": True}, ccxt.RequestTimeout, False),
    ({"kind": "empty", "status": 502, "before": True}, ccxt.ExchangeNotAvailable, False),
    ({"kind": "error", "status": 503, "code": -1008, "msg": "Server is currently overloaded"}, ccxt.OperationFailed, True),
    ({"kind": "error", "status": 400, "code": -1007, "msg": "Timeout waiting for response from backend server."}, ccxt.RequestTimeout, True),
    ({"kind": "error", "status": 429, "code": -1003, "before": True}, ccxt.DDoSProtection, False),
]


@pytest.mark.parametrize(("fault", "expected", "done"), SYNC, ids=[str(fault) for fault, _, _ in SYNC])
def test_a_faulty_answer_has_its_class_and_the_order_its_fate(exchange: Serving, fault: dict[str, Any], expected: type[Exception], done: bool) -> None:
    exchange.admin("/faults", {"path": ORDER, "method": "POST", **fault})
    client_id = "-".join(f"{value}".strip("-")[:8].replace(" ", "") for value in fault.values()).replace("True", "before")

    with pytest.raises(expected):
        buy(exchange.client, client_id)

    assert done is placed(exchange, client_id)


@pytest.mark.asyncio
async def test_the_async_client_sees_a_cut_answer_as_a_plain_error(exchange: Serving) -> None:
    """The dangerous one: the class looks like a refusal, and the order exists."""
    await asyncio.to_thread(exchange.admin, "/faults", {"kind": "truncate", "path": ORDER})
    client = ccxt.async_support.binance(exchange.config())
    client.set_markets(exchange.client.markets)
    try:
        with pytest.raises(ccxt.BaseError):
            await buy(client, "cut")
    finally:
        await client.close()

    assert await asyncio.to_thread(placed, exchange, "cut")


def test_a_page_where_json_should_be_gives_an_order_without_an_id(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "http", "status": 200, "path": ORDER})

    answer = buy(exchange.client, "page")

    assert answer["id"] is None
    assert placed(exchange, "page")


def test_a_late_answer_comes_after_the_client_gave_up(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "delay", "seconds": 1.0, "path": ORDER})
    impatient = ccxt.binance({**exchange.config(), "timeout": 200})
    impatient.set_markets(exchange.client.markets)

    with pytest.raises(ccxt.RequestTimeout):
        buy(impatient, "late")

    assert placed(exchange, "late")


def test_a_request_that_is_late_on_its_way_dies_by_its_window(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "delay", "seconds": 0.4, "path": ORDER, "before": True})
    client = ccxt.binance(exchange.config())
    client.set_markets(exchange.client.markets)
    client.options["recvWindow"] = 200

    with pytest.raises(ccxt.InvalidNonce):
        buy(client, "too-late")

    assert not placed(exchange, "too-late")


def test_a_fault_strikes_the_requests_it_names_and_no_other() -> None:
    faults = Faults()
    fault = Fault(FaultKind.DROP, method="GET", symbol="BTCUSDT", nth=2, times=2)
    faults.plan(fault)

    struck = [faults.due(Request("GET", ORDER, symbol)) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "BTCUSDT", "BTCUSDT")]

    assert [None, None, fault, fault, None] == struck
    assert faults.due(Request("POST", ORDER, "BTCUSDT")) is None


@pytest.mark.parametrize("body", [[], {}, {"kind": "nonsense"}, {"kind": "drop", "colour": "red"}, {"kind": "drop", "nth": "first"}])
def test_a_fault_that_cannot_be_practised_is_refused(body: object) -> None:
    with pytest.raises(BadFault):
        fault_of(body)


@pytest.mark.parametrize("skew_ms", [-10_000, 10_000])
def test_a_skewed_wire_clock_refuses_signatures_and_leaves_market_time_alone(exchange: Serving, skew_ms: int) -> None:
    before = exchange.client.fetch_time()
    exchange.admin("/wire-clock", {"skew_ms": skew_ms})

    with pytest.raises(ccxt.InvalidNonce):
        exchange.client.fetch_balance()

    assert before == exchange.client.fetch_time()


def rows(exchange: Serving) -> list[dict[str, Any]]:
    return list(exchange.admin("/faults"))


def test_every_fault_is_listed_with_what_it_saw_and_struck(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "drop", "method": "GET", "path": "/api/v3/tim*", "nth": 2})

    exchange.client.fetch_time()
    with pytest.raises(ccxt.NetworkError):
        exchange.client.fetch_time()
    exchange.client.fetch_time()

    row = rows(exchange)[0]
    assert (1, "drop", 3, 1) == tuple(row[name] for name in ("id", "kind", "seen", "struck"))


def test_chance_draws_from_the_seed() -> None:
    def strikes() -> list[bool]:
        faults = Faults()
        faults.plan(Fault(FaultKind.DROP, times=0, chance=0.5, seed=3))
        return [faults.due(Request("GET", ORDER, None)) is not None for _ in range(50)]

    assert strikes() == strikes()
    assert 10 < sum(strikes()) < 40


def test_maintenance_is_an_answer_of_200_and_nothing_is_done(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "maintenance", "path": ORDER})

    with pytest.raises(ccxt.OnMaintenance):
        buy(exchange.client, "maintained")

    assert not placed(exchange, "maintained")


@pytest.mark.parametrize(("before", "done"), [(False, True), (True, False)])
def test_a_request_that_hangs_is_let_go_when_faults_are_cleared(exchange: Serving, before: bool, done: bool) -> None:
    exchange.admin("/faults", {"kind": "hang", "path": ORDER, "before": before})
    impatient = ccxt.binance({**exchange.config(), "timeout": 200})
    impatient.set_markets(exchange.client.markets)

    with pytest.raises(ccxt.RequestTimeout):
        buy(impatient, f"hung-{before}")

    assert done is placed(exchange, f"hung-{before}")


def test_an_order_that_arrives_twice_is_two_orders_when_the_first_is_filled(exchange: Serving) -> None:
    """Client ids are unique among open orders only, so they protect nobody."""
    exchange.admin("/faults", {"kind": "duplicate", "path": ORDER, "method": "POST"})

    buy(exchange.client, "twice")

    assert 2 == [order["clientOrderId"] for order in exchange.admin("/orders")].count("twice")


def test_a_cancel_that_arrives_twice_finds_nothing_though_it_cancelled(exchange: Serving) -> None:
    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.01", 20_000)
    exchange.admin("/faults", {"kind": "duplicate", "path": ORDER, "method": "DELETE"})

    with pytest.raises(ccxt.OrderNotFound):
        exchange.client.cancel_order(order["id"], SYMBOL)

    assert "canceled" == exchange.client.fetch_order(order["id"], SYMBOL)["status"]


def test_reads_that_lag_do_not_know_a_live_order(exchange: Serving) -> None:
    before = exchange.balance()
    exchange.admin("/faults", {"kind": "lag_reads", "method": "GET", "path": "/api/v3/*", "times": 3})
    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.01", 20_000)

    with pytest.raises(ccxt.OrderNotFound):
        exchange.client.fetch_order(order["id"], SYMBOL)
    stale, unseen = exchange.balance(), exchange.client.fetch_open_orders(SYMBOL)
    seen = exchange.client.fetch_open_orders(SYMBOL)

    assert before == stale
    assert order["id"] not in [each["id"] for each in unseen]
    assert order["id"] in [each["id"] for each in seen]
    exchange.client.cancel_all_orders(SYMBOL)


def test_a_ban_is_418_for_everything_until_it_is_lifted(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "ban", "seconds": 60})

    with pytest.raises(ccxt.DDoSProtection, match="418"):
        exchange.client.fetch_time()


def test_weight_that_others_used_counts(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "weight", "weight": 100_000})

    with pytest.raises(ccxt.DDoSProtection, match="429"):
        exchange.client.fetch_time()
    exchange.admin("/faults", {"kind": "weight", "weight": -100_000})

    assert exchange.client.fetch_time()


def test_a_key_that_is_revoked_before_an_order_refuses_it(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "expire_key", "method": "POST", "path": ORDER, "before": True})
    client = ccxt.binance(exchange.config())
    client.set_markets(exchange.client.markets)

    with pytest.raises(ccxt.AuthenticationError):
        buy(client, "revoked")
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()

    assert not placed(exchange, "revoked")


def test_a_clock_that_is_skewed_at_the_second_request_refuses_from_the_third_on(exchange: Serving) -> None:
    exchange.admin("/faults", {"kind": "skew_clock", "skew_ms": 9000, "path": "/api/v3/account", "nth": 2})

    exchange.client.fetch_balance()
    exchange.client.fetch_balance()

    with pytest.raises(ccxt.InvalidNonce):
        exchange.client.fetch_balance()


def test_a_halted_symbol_has_no_book_and_takes_no_orders_but_its_orders_stay(exchange: Serving) -> None:
    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.01", 20_000)
    exchange.admin("/faults", {"kind": "halt_symbol", "symbol": "BTCUSDT"})

    with pytest.raises(ccxt.MarketClosed):
        buy(exchange.client, "halted")
    book, bars = exchange.client.fetch_order_book(SYMBOL), exchange.client.fetch_ohlcv(SYMBOL, "1h", limit=5)
    exchange.advance(1)

    assert ([], []) == (book["bids"], book["asks"])
    assert bars == exchange.client.fetch_ohlcv(SYMBOL, "1h", limit=5)
    assert "open" == exchange.client.fetch_order(order["id"], SYMBOL)["status"]
    exchange.client.cancel_order(order["id"], SYMBOL)


def test_a_delisted_symbol_has_no_price_and_its_orders_end(exchange: Serving) -> None:
    order = exchange.client.create_order(SYMBOL, "limit", "buy", "0.01", 20_000)
    exchange.admin("/faults", {"kind": "delist", "symbol": "BTCUSDT"})

    ticker = exchange.client.fetch_ticker(SYMBOL)
    with pytest.raises(ccxt.ExchangeError):
        buy(exchange.client, "delisted")

    assert not ticker["last"]
    assert "canceled" == exchange.client.fetch_order(order["id"], SYMBOL)["status"]
    assert not ccxt.binance(exchange.config()).load_markets()[SYMBOL]["active"]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "halt_symbol"},
        {"kind": "halt_symbol", "symbol": "NOPE"},
        {"kind": "error", "event": "kline"},
        {"kind": "duplicate", "path": ORDER, "stream": "user"},
        {"kind": "delay", "seconds": -1},
        {"kind": "drop", "path": 5},
    ],
)
def test_a_fault_that_would_never_strike_is_refused(exchange: Serving, body: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        exchange.admin("/faults", body)


async def asked_over_socket(exchange: Serving, fault: dict[str, Any], client_id: str) -> Any:
    """A market buy over the websocket API, by an unmodified ccxt, under a fault."""
    client = ccxt.pro.binance({**exchange.config(), "timeout": 500})
    client.set_markets(exchange.client.markets)
    await asyncio.to_thread(exchange.admin, "/faults", {"method": "order.place", **fault})
    try:
        return await client.create_order_ws(SYMBOL, "market", "buy", 0.01, None, {"newClientOrderId": client_id})
    finally:
        await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ({"kind": "error", "status": 503, "code": -1007}, True),
        ({"kind": "error", "status": 503, "code": -1007, "before": True}, False),
        ({"kind": "drop"}, True),
        ({"kind": "maintenance"}, False),
        ({"kind": "expire_key", "before": True}, False),
    ],
    ids=str,
)
async def test_the_websocket_api_meets_the_same_faults(exchange: Serving, fault: dict[str, Any], done: bool) -> None:
    client_id = f"ws-{fault['kind']}-{'before' in fault}"

    with pytest.raises(ccxt.BaseError):
        await asked_over_socket(exchange, fault, client_id)

    assert done is await asyncio.to_thread(placed, exchange, client_id)


@pytest.mark.asyncio
async def test_a_duplicate_over_the_websocket_api_is_two_orders(exchange: Serving) -> None:
    await asked_over_socket(exchange, {"kind": "duplicate"}, "ws-twice")

    orders = await asyncio.to_thread(exchange.admin, "/orders")
    assert 2 == [order["clientOrderId"] for order in orders].count("ws-twice")
