"""Funding rates from the venue to the lake and to the bars they fall due in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ccxt
import numpy as np
import polars as pl
import pytest

from configs.vocabulary import Timeframe
from data_contracts.funding import CONTRACT, FUNDING_COLUMNS
from data_contracts.gate import Admitted, Quarantined, admit
from desk.errors import SourceStale
from desk.execution.ccxt_settings import Dialect, constructor_config
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.funding import ingest_rates, laid_along, rates_due
from desk.market.lake import Lake

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
SWAP = "BTC/USDT:USDT"


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def ms(hours: float) -> int:
    return int(at(hours).timestamp() * 1000)


class Venue:
    """Settles every eight hours, books a few milliseconds late, and answers as Binance does: at most `cap` rates from `since` on."""

    def __init__(self, settlements: int, cap: int = 3) -> None:
        self.settlements, self.cap = settlements, cap
        self.asked: list[int] = []

    def fetch_funding_rate_history(self, symbol: str, since: int, limit: int, params: dict[str, int]) -> list[dict[str, Any]]:
        self.asked.append(since)
        rows = [(ms(8 * number) + number % 4, number * 1e-5) for number in range(1, self.settlements + 1)]
        known = [(settled, rate) for settled, rate in rows if since <= settled <= params["endTime"]]
        return [{"symbol": symbol, "timestamp": settled, "fundingRate": rate} for settled, rate in known[: min(limit, self.cap)]]


def frame(*rows: tuple[float, float], symbol: str = SWAP) -> pl.DataFrame:
    return pl.DataFrame([(symbol, "1h", at(hours), rate) for hours, rate in rows], schema=FUNDING_COLUMNS, orient="row")


def test_every_page_is_fetched_once_and_milliseconds_of_booking_are_no_time() -> None:
    venue = Venue(10)

    pages = list(ExchangeSource(venue).funding(SWAP, at(0), at(72)))

    rates = pl.concat(pages)
    assert [at(8 * number) for number in range(1, 10)] == rates["open_time"].to_list()
    assert [number * 1e-5 for number in range(1, 10)] == rates["rate"].to_list()
    assert isinstance(admit(rates, CONTRACT), Admitted)


def test_what_is_stored_is_not_asked_for_again(tmp_path: Path) -> None:
    lake, venue = Lake(tmp_path), Venue(6)
    first = ingest_rates(ExchangeSource(venue), lake, "funding_x", (SWAP,), at(24))
    venue.asked.clear()

    again = ingest_rates(ExchangeSource(venue), lake, "funding_x", (SWAP,), at(24))
    more = ingest_rates(ExchangeSource(venue), lake, "funding_x", (SWAP,), at(48))

    assert ms(25) == venue.asked[0]
    assert first == again
    assert (3, 6) == (lake.read(first).height, lake.read(more).height)


def test_a_contract_that_was_never_settled_is_a_wrong_symbol(tmp_path: Path) -> None:
    with pytest.raises(SourceStale, match="BTC/USDT:USDT"):
        ingest_rates(ExchangeSource(Venue(0)), Lake(tmp_path), "funding_x", (SWAP,), at(24))


@pytest.mark.parametrize(("rate", "hours", "broken"), [(1.0, 8, "rate_possible"), (float("nan"), 8, "present"), (0.0001, 8.5, "on_grid")])
def test_a_rate_in_percent_none_at_all_or_off_the_hour_is_kept_out(rate: float, hours: float, broken: str) -> None:
    found = admit(frame((hours, rate)), CONTRACT)

    assert isinstance(found, Quarantined)
    assert [broken] == found.cases["check"].unique().to_list()


def test_a_rate_is_due_at_the_end_of_the_bar_in_which_it_was_settled() -> None:
    """Settled at 8 and 16 o'clock and at midnight; a bar's end belongs to it, its beginning to the one before."""
    rates = frame((8, 1e-4), (16, 2e-4), (24, 4e-4))

    hourly, four_hourly, daily = (rates_due(rates, timeframe) for timeframe in (Timeframe.H1, Timeframe.H4, Timeframe.D1))

    assert {(SWAP, at(8)): 1e-4, (SWAP, at(16)): 2e-4, (SWAP, at(24)): 4e-4} == hourly == four_hourly
    assert {(SWAP, at(24)): pytest.approx(7e-4)} == daily
    closes = np.array([at(hours).replace(tzinfo=None) for hours in (7, 8, 9, 24)], dtype="datetime64[us]")
    assert [[0, 0], [0, 1e-4], [0, 0], [0, 4e-4]] == laid_along(hourly, closes, ("ADA/USDT:USDT", SWAP)).tolist()


@pytest.fixture
def perpetuals(practice_exchange: Callable[..., dict[str, Any]]) -> Any:
    greeting = practice_exchange("--seed", "5", "--symbols", "BTC/USDT,ETH/USDT", "--history-bars", "300", "--stream-bars", "20")
    config = constructor_config(*(greeting[key] for key in ("rest", "ws", "api_key", "secret")), Dialect.LINEAR)
    return open_exchange(config, Dialect.LINEAR.client)


def test_rates_come_over_the_wire_through_unmodified_ccxt(perpetuals: Any, tmp_path: Path) -> None:
    """The practice exchange draws its rates: what the lake holds is what ccxt says when it is asked for one settlement at a time."""
    source, lake = ExchangeSource(perpetuals, page_limit=7), Lake(tmp_path)
    until = source.closed_until(Timeframe.H1)

    stored = lake.read(ingest_rates(source, lake, "funding_x", (SWAP,), until))

    assert isinstance(perpetuals, ccxt.binanceusdm)
    assert isinstance(admit(stored, CONTRACT), Admitted)
    assert stored.height == len(stored["rate"].unique()) > 30
    assert [timedelta(hours=8)] == stored["open_time"].diff().drop_nulls().unique().to_list()
    (one,) = perpetuals.fetch_funding_rate_history(SWAP, int(stored["open_time"][-1].timestamp() * 1000), 1)
    assert one["fundingRate"] == stored["rate"][-1]
