"""Unmodified ccxt.binanceusdm, sync and pro, trades perpetuals against a running exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
import pytest

from desk.execution.ccxt_settings import Dialect, constructor_config
from tests.practice_exchange.conftest import Serving

SYMBOL = "BTC/USDT:USDT"
TEN_SECONDS = 10
HOUR_MS = 3_600_000


def linear(serving: Serving) -> dict[str, Any]:
    return constructor_config(*(serving.greeting[name] for name in ("rest", "ws", "api_key", "secret")), Dialect.LINEAR)


def client_of(serving: Serving) -> Any:
    client = ccxt.binanceusdm(linear(serving))
    client.load_markets()
    return client


@pytest.fixture(scope="module")
def serving(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 3, "--stream-bars", 400, "--funding-rate", "0.0001")


@pytest.fixture(scope="module")
def shared(serving: Serving) -> Any:
    return client_of(serving)


@pytest.fixture
def client(shared: Any) -> Iterator[Any]:
    """A client whose account is flat before and after."""
    yield shared
    shared.cancel_all_orders(SYMBOL)
    shared.cancel_all_orders(SYMBOL, {"trigger": True})
    for position in shared.fetch_positions([SYMBOL]):
        shared.create_order(SYMBOL, "market", "sell" if position["side"] == "long" else "buy", position["contracts"], params={"reduceOnly": True})


def last(client: Any) -> float:
    return float(client.fetch_ticker(SYMBOL)["last"])


def near(client: Any, multiple: float) -> float:
    return float(client.price_to_precision(SYMBOL, last(client) * multiple))


def placed(client: Any, kind: str, side: str, price: float | None = None, **params: object) -> Any:
    return client.create_order(SYMBOL, kind, side, 0.1, price, params)


def test_every_url_leads_to_loopback(serving: Serving) -> None:
    def leaves(tree: Any) -> Iterator[str]:
        for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
            yield from leaves(value)
        if isinstance(tree, str):
            yield tree

    urls = [url for url in leaves(ccxt.pro.binanceusdm(linear(serving)).urls) if "://" in url]

    assert urls
    assert all("://127.0.0.1:" in url for url in urls)


def test_the_market_is_the_spot_tape_with_contracts_on_it(serving: Serving, client: Any) -> None:
    market = client.market(SYMBOL)

    assert (True, True, "USDT") == (market["swap"], market["linear"], market["settle"])
    assert serving.client.fetch_ohlcv("BTC/USDT", "1h", limit=20) == client.fetch_ohlcv(SYMBOL, "1h", limit=20)
    assert client.fetch_order_book(SYMBOL)["bids"]
    assert client.fetch_trades(SYMBOL, limit=4)


def test_a_market_order_opens_a_position_and_pays_commission_in_the_margin_asset(client: Any) -> None:
    before = client.fetch_balance()["USDT"]["total"]

    order = placed(client, "market", "buy", newClientOrderId="open-1")
    (position,) = client.fetch_positions([SYMBOL])
    trades = [trade for trade in client.fetch_my_trades(SYMBOL) if trade["order"] == order["id"]]

    assert ("closed", 0.1, "open-1") == (order["status"], order["filled"], order["clientOrderId"])
    assert ("long", 0.1, order["average"]) == (position["side"], position["contracts"], position["entryPrice"])
    assert [(0.1, "USDT")] == [(trade["amount"], trade["fee"]["currency"]) for trade in trades]
    assert client.fetch_balance()["USDT"]["total"] < before


@pytest.mark.parametrize(
    ("kind", "params", "status"),
    [("limit", {"timeInForce": "GTC"}, "open"), ("limit", {"timeInForce": "IOC"}, "expired"), ("limit", {"timeInForce": "FOK"}, "expired")],
)
def test_limit_orders_of_each_life_below_the_market(client: Any, kind: str, params: dict[str, Any], status: str) -> None:
    order = placed(client, kind, "buy", near(client, 0.9), **params)

    assert status == order["status"]
    assert status == client.fetch_order(order["id"], SYMBOL)["status"]


def test_post_only_rests_or_is_refused(client: Any) -> None:
    resting = placed(client, "limit", "sell", near(client, 1.1), postOnly=True)

    assert ("open", "PO") == (resting["status"], resting["timeInForce"])
    with pytest.raises(ccxt.OrderNotFillable, match="-5022"):
        placed(client, "limit", "sell", near(client, 0.9), postOnly=True)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("market", {"stopLossPrice": 0.97}),
        ("market", {"takeProfitPrice": 1.03}),
        ("limit", {"stopLossPrice": 0.97}),
        ("limit", {"takeProfitPrice": 1.03}),
        ("market", {"trailingPercent": 2}),
    ],
)
def test_conditional_orders_are_placed_fetched_listed_and_cancelled(client: Any, kind: str, params: dict[str, float]) -> None:
    placed(client, "market", "buy")
    prices = {name: value if name == "trailingPercent" else near(client, value) for name, value in params.items()}

    order = placed(client, kind, "sell", near(client, 0.96) if kind == "limit" else None, reduceOnly=True, **prices)
    listed = client.fetch_open_orders(SYMBOL, params={"trigger": True})
    client.cancel_order(order["id"], SYMBOL, {"trigger": True})

    assert [order["id"]] == [each["id"] for each in listed]
    assert "canceled" == client.fetch_order(order["id"], SYMBOL, {"trigger": True})["status"]
    assert [] == client.fetch_open_orders(SYMBOL, params={"trigger": True})


def test_a_conditional_type_at_the_plain_endpoint_is_sent_away(client: Any) -> None:
    request = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1", "stopPrice": "20000"}

    with pytest.raises(ccxt.ExchangeError, match="-4120"):
        client.fapiPrivatePostOrder(request)


def test_a_stop_that_is_reached_becomes_an_order_with_its_client_id(serving: Serving, client: Any) -> None:
    placed(client, "market", "buy")
    watch = placed(client, "market", "sell", None, stopLossPrice=near(client, 0.9995), reduceOnly=True, clientAlgoId="guard-1")

    for _ in range(100):
        serving.advance(1)
        if not client.fetch_positions([SYMBOL]):
            break
    order = client.fetch_order(None, SYMBOL, {"origClientOrderId": "guard-1"})

    assert ("closed", 0.1, True) == (order["status"], order["filled"], order["reduceOnly"])
    assert "closed" == client.fetch_order(watch["id"], SYMBOL, {"trigger": True})["status"]


def test_an_edit_keeps_the_id(client: Any) -> None:
    order = placed(client, "limit", "buy", near(client, 0.9))

    edited = client.edit_order(order["id"], SYMBOL, "limit", "buy", 0.2, near(client, 0.91))

    assert (order["id"], 0.2, near(client, 0.91)) == (edited["id"], edited["amount"], edited["price"])


@pytest.mark.parametrize(
    ("code", "error", "ask"),
    [
        ("-2019", ccxt.InsufficientFunds, lambda client: client.create_order(SYMBOL, "limit", "buy", 150, near(client, 0.9))),
        ("-2022", ccxt.InvalidOrder, lambda client: placed(client, "market", "sell", reduceOnly=True)),
        ("-2021", ccxt.OrderImmediatelyFillable, lambda client: placed(client, "market", "sell", None, stopLossPrice=near(client, 1.05))),
        ("-4046", ccxt.MarginModeAlreadySet, lambda client: client.set_margin_mode("cross", SYMBOL)),
        ("-4164", ccxt.InvalidOrder, lambda client: client.create_order(SYMBOL, "limit", "buy", 0.0001, near(client, 0.9))),
        ("-2013", ccxt.OrderNotFound, lambda client: client.fetch_order("999999", SYMBOL)),
        ("-2011", ccxt.OrderNotFound, lambda client: client.cancel_order("999999", SYMBOL)),
        ("-4028", ccxt.ExchangeError, lambda client: client.fapiPrivatePostLeverage({"symbol": "BTCUSDT", "leverage": 126})),
        ("-1121", ccxt.BadSymbol, lambda client: client.fapiPrivatePostLeverage({"symbol": "NOPE", "leverage": 5})),
    ],
)
def test_refusals_reach_the_client_as_the_errors_binance_would_cause(client: Any, code: str, error: type[Exception], ask: Callable[[Any], object]) -> None:
    with pytest.raises(error, match=code):
        ask(client)


def test_a_resting_profit_blocks_the_emergency_close_until_it_is_cancelled(client: Any) -> None:
    """Row 37 of the fault matrix: -4118."""
    placed(client, "market", "buy")
    profit = placed(client, "limit", "sell", near(client, 1.1), reduceOnly=True)

    with pytest.raises(ccxt.OperationRejected, match="-4118"):
        placed(client, "market", "sell", reduceOnly=True)
    client.cancel_order(profit["id"], SYMBOL)
    placed(client, "market", "sell", reduceOnly=True)

    assert [] == client.fetch_positions([SYMBOL])


def test_a_duplicate_client_id_among_open_orders_is_refused(client: Any) -> None:
    placed(client, "limit", "buy", near(client, 0.9), newClientOrderId="twice")

    with pytest.raises(ccxt.InvalidOrder, match="-4116"):
        placed(client, "limit", "buy", near(client, 0.9), newClientOrderId="twice")


def test_leverage_brackets_and_funding_are_published(serving: Serving, client: Any) -> None:
    client.set_leverage(7, SYMBOL)
    tiers = client.fetch_leverage_tiers([SYMBOL])[SYMBOL]
    rates = client.fetch_funding_rate_history(SYMBOL, limit=5)

    assert 7 == client.fetch_leverages([SYMBOL])[SYMBOL]["longLeverage"]
    assert (125, 0.004) == (tiers[0]["maxLeverage"], tiers[0]["maintenanceMarginRate"])
    assert [8 * HOUR_MS] * 4 == [after["timestamp"] - before["timestamp"] for before, after in pairwise(rates)]
    assert {0.0001} == {rate["fundingRate"] for rate in rates}
    assert 0.0001 == client.fetch_funding_rate(SYMBOL)["fundingRate"]


def test_funding_is_settled_every_eight_hours_and_told(serving: Serving, client: Any) -> None:
    placed(client, "market", "sell")
    known = len(client.fetch_funding_history(SYMBOL))

    serving.advance(24)
    fees = client.fetch_funding_history(SYMBOL)[known:]

    assert 3 == len(fees)
    assert all(fee["amount"] > 0 for fee in fees)


def test_a_killed_exchange_comes_back_with_positions_orders_and_wallet(serve: Callable[..., Serving], tmp_path: Path) -> None:
    arguments = ("--seed", 5, "--stream-bars", 50, "--state", tmp_path)
    first = serve(*arguments)
    before = client_of(first)
    placed(before, "market", "buy")
    placed(before, "market", "sell", None, stopLossPrice=near(before, 0.9), reduceOnly=True)
    first.advance(9)
    known = [before.fetch_balance()["USDT"], before.fetch_my_trades(SYMBOL), before.fetch_open_orders(SYMBOL, params={"trigger": True})]
    first.kill()

    after = client_of(serve(*arguments))

    assert known == [after.fetch_balance()["USDT"], after.fetch_my_trades(SYMBOL), after.fetch_open_orders(SYMBOL, params={"trigger": True})]
    assert 0.1 == after.fetch_positions([SYMBOL])[0]["contracts"]


@pytest.fixture(scope="module")
def streaming(serve: Callable[..., Serving]) -> Serving:
    return serve("--seed", 9, "--stream-bars", 100)


class Listener(ccxt.pro.binanceusdm):  # type: ignore[misc]
    """Knows when it hears: a public stream once the exchange confirmed it, the account's as soon as its line is open."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.hears = asyncio.Event()

    def on_connected(self, client: Any, message: Any = None) -> None:
        super().on_connected(client, message)
        if "listenKey=" in client.url:
            self.hears.set()

    def handle_subscription_status(self, client: Any, message: Any) -> Any:
        answer = super().handle_subscription_status(client, message)
        self.hears.set()
        return answer


@asynccontextmanager
async def listener(serving: Serving) -> AsyncIterator[Listener]:
    """Closed after ten seconds at the latest."""
    client = Listener(linear(serving))
    try:
        async with asyncio.timeout(TEN_SECONDS):
            await client.load_markets()
            yield client
    finally:
        await client.close()


async def heard(serving: Serving, listen: Callable[[Any], Any], act: Callable[[Any], Any]) -> Any:
    """What one watch call returns after something was done."""
    async with listener(serving) as client:
        listening = asyncio.create_task(listen(client))
        await client.hears.wait()
        await act(client)
        return await listening


async def advanced(serving: Serving) -> Any:
    return await asyncio.to_thread(serving.advance, 1)


@pytest.mark.parametrize("what", ["watch_trades", "watch_ohlcv", "watch_order_book", "watch_mark_price"])
@pytest.mark.asyncio
async def test_public_streams_tell_of_the_bar_that_closed(streaming: Serving, what: str) -> None:
    arguments = ("1h",) if what == "watch_ohlcv" else ()

    answer = await heard(streaming, lambda client: getattr(client, what)(SYMBOL, *arguments), lambda client: advanced(streaming))

    assert answer


@pytest.mark.asyncio
async def test_a_local_book_equals_the_snapshot_after_many_diffs(streaming: Serving) -> None:
    async with listener(streaming) as client:
        for _ in range(4):
            watching = asyncio.create_task(client.watch_order_book(SYMBOL))
            await client.hears.wait()
            await advanced(streaming)
            book = await watching
        snapshot = await client.fetch_order_book(SYMBOL)
        while book["nonce"] < snapshot["nonce"]:
            book = await client.watch_order_book(SYMBOL)

    assert snapshot["nonce"] == book["nonce"]
    assert [list(level) for level in snapshot["bids"][:20]] == [list(level) for level in book["bids"][:20]]
    assert [list(level) for level in snapshot["asks"][:20]] == [list(level) for level in book["asks"][:20]]


@pytest.mark.parametrize("what", ["watch_orders", "watch_my_trades", "watch_balance", "watch_positions"])
@pytest.mark.asyncio
async def test_the_user_stream_tells_of_an_order_its_fill_the_wallet_and_the_position(streaming: Serving, what: str) -> None:
    async def listen(client: Any) -> Any:
        answer = await getattr(client, what)()
        # Positions begin with a snapshot.
        return await client.watch_positions() if what == "watch_positions" else answer

    answer = await heard(streaming, listen, lambda client: client.create_order(SYMBOL, "market", "buy", 0.01))

    if what in ("watch_orders", "watch_my_trades"):
        assert SYMBOL == answer[-1]["symbol"]
    elif what == "watch_positions":
        assert [SYMBOL] == [position["symbol"] for position in answer]
    else:
        assert answer["USDT"]["total"] < 100_000


@pytest.mark.asyncio
async def test_an_expired_listen_key_is_told_and_opens_nothing_any_more(streaming: Serving) -> None:
    import aiohttp

    client = ccxt.pro.binanceusdm(linear(streaming))
    try:
        key = (await client.fapiPrivatePostListenKey())["listenKey"]
        url = f"{streaming.greeting['ws']}/fstream/private/ws?listenKey={key}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await asyncio.to_thread(streaming.admin, "/wire-clock", {"skew_ms": HOUR_MS + 1})
            await advanced(streaming)
            event = await socket.receive_json(timeout=TEN_SECONDS)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(url)
        await asyncio.to_thread(streaming.admin, "/wire-clock", {"skew_ms": 0})
    finally:
        await client.close()

    assert ("listenKeyExpired", key) == (event["e"], event["listenKey"])
