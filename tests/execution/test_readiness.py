"""What an account and a key must be before they may trade: asked of a real exchange, and of answers as Binance words them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from configs.trading import CostSettings
from desk.errors import GateClosed, PreflightFailed
from desk.execution.ccxt_settings import constructor_config
from desk.execution.readiness import compare_fees, preflight, trading_scope
from desk.market.exchange_source import ExchangeSource
from tests.listening import Heard


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


TIERED = CostSettings(fee_tiers=[{"volume": 1e6, "taker": 0.0009, "maker": 0.0007}])


def test_a_venue_that_charges_what_the_settings_say_is_not_warned_of(client: Any, heard: list[Heard]) -> None:
    """It charges a thousandth; the tier is there, and was not reached."""
    compare_fees(client, ["BTC/USDT"], TIERED)

    assert [] == heard


def test_a_venue_that_charges_otherwise_is_told_of_with_both_rates(client: Any, heard: list[Heard]) -> None:
    compare_fees(client, ["BTC/USDT"], TIERED.model_copy(update={"volume_30d": 1e6}))

    told = {"symbols": "BTC/USDT", "venue": {"taker": 0.001, "maker": 0.001}, "settings": {"taker": 0.0009, "maker": 0.0007}}
    assert [("WARNING", "fees.differ", told)] == heard


def test_a_maker_who_pays_otherwise_is_told_of_too(client: Any, heard: list[Heard]) -> None:
    answer = {symbol: {"taker": 0.001, "maker": 0.0008} for symbol in ("BTC/USDT", "ETH/USDT")}

    compare_fees(Answering(client, fetch_trading_fees=answer), ["ETH/USDT", "BTC/USDT"], CostSettings())

    assert [("fees.differ", "BTC/USDT, ETH/USDT")] == [(event, fields["symbols"]) for _, event, fields in heard]


def test_a_symbol_whose_fee_nobody_tells_is_named_and_holds_nobody_up(client: Any, heard: list[Heard]) -> None:
    compare_fees(Answering(client, fetch_trading_fees={}), ["BTC/USDT"], CostSettings())

    assert [("WARNING", "fees.unknown", {"why": "the exchange told none for BTC/USDT"})] == heard


def test_a_venue_that_does_not_answer_about_fees_holds_nobody_up(heard: list[Heard]) -> None:
    nobody = ccxt.binance(constructor_config("http://127.0.0.1:9", "ws://127.0.0.1:9", "key", "secret"))

    compare_fees(nobody, ["BTC/USDT"], CostSettings())

    assert ["fees.unknown"] == [event for _, event, _ in heard]
