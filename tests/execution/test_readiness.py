"""What an account and a key must be before they may trade: asked of a real exchange, and of answers as Binance words them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from desk.errors import GateClosed, PreflightFailed
from desk.execution.ccxt_settings import constructor_config
from desk.execution.readiness import preflight, trading_scope
from desk.market.exchange_source import ExchangeSource


@pytest.fixture(scope="module")
def client(practice_exchange: Callable[..., dict[str, Any]]) -> Any:
    greeting = practice_exchange("--seed", "8", "--symbols", "BTC/USDT", "--history-bars", "50", "--stream-bars", "5")
    return ccxt.binance(constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret"))))


class Answering:
    """A client whose signed answers are given: the words are Binance's, the rest is the real client's."""

    def __init__(self, client: Any, **answers: Any) -> None:
        self._client, self._answers = client, answers

    def __getattr__(self, name: str) -> Any:
        return (lambda: self._answers[name]) if name in self._answers else getattr(self._client, name)


def test_an_account_on_our_grid_that_can_trade_passes(client: Any) -> None:
    assert ("BTC/USDT",) == preflight(client, ExchangeSource(client).instruments()).symbols


def test_a_lot_that_is_not_the_exchanges_is_named(client: Any) -> None:
    (symbol, ours), *_ = ExchangeSource(client).instruments().items()

    with pytest.raises(PreflightFailed, match=r"expected lots of 0\.5 for BTC/USDT"):
        preflight(client, {symbol: replace(ours, lot=Decimal("0.5"))})


def test_an_account_that_cannot_trade_is_refused(client: Any) -> None:
    instruments = ExchangeSource(client).instruments()

    with pytest.raises(PreflightFailed, match="found canTrade False"):
        preflight(Answering(client, fetch_balance={"info": {"canTrade": False}}), instruments)


@pytest.mark.parametrize(
    ("granted", "found"),
    [
        ({"enableReading": True, "enableSpotAndMarginTrading": True, "enableWithdrawals": True}, r"found too much \(enableWithdrawals\)"),
        ({"enableReading": True, "enableSpotAndMarginTrading": False}, "found enableReading"),
        ({}, "found nothing"),
    ],
)
def test_a_key_may_trade_and_no_more(client: Any, granted: dict[str, bool], found: str) -> None:
    with pytest.raises(GateClosed, match=found):
        trading_scope(Answering(client, sapi_get_account_apirestrictions={"ipRestrict": False, **granted}))
