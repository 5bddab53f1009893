"""The venue's data goes away, and the rest of the history comes from another exchange's face of the market, noted as such."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from configs.market import MarketSettings, PracticeSettings
from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.errors import SourceStale
from desk.market.fallback_source import Handover
from desk.market.ingest import Wanted, ingest
from tasks.market import history_source
from tasks.places import lake_of
from tasks.services import Greeting, ensure_exchange
from tasks.services.processes import stop
from tasks.values import Market

SYMBOLS = ("BTC/USDT", "ETH/USDT")
NAME = "fallback"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OperationsSettings, Greeting]]:
    operations = OperationsSettings(var=tmp_path_factory.mktemp("fallback") / "var")
    practice = PracticeSettings(symbols=SYMBOLS, history_bars=300, stream_bars=10)
    yield operations, ensure_exchange(MarketSettings(fallbacks=("kraken", "coinbase"), practice=practice), operations, [])
    stop(operations, "exchange")


@pytest.fixture
def opened(exchange: tuple[OperationsSettings, Greeting], tmp_path: Path) -> tuple[OperationsSettings, Greeting]:
    """The exchange without faults, and a lake and breakers of the test's own."""
    operations, greeting = exchange
    with urllib.request.urlopen(urllib.request.Request(f"{greeting.admin}/faults", method="DELETE"), timeout=10):
        pass
    shutil.rmtree(operations.var / "risk", ignore_errors=True)
    return operations.model_copy(update={"lake_url": str(tmp_path / "lake")}), greeting


def market_of(greeting: Greeting) -> Market:
    """The market as `open_market` describes it."""
    facts = greeting.market
    until, end = (datetime.fromisoformat(facts[name]) for name in ("history_until", "ends_at"))
    rest = {"timeframe": "1h", "history_until": until, "ends_at": end, "synthetic": True, "description": "", "instruments": ()}
    return Market(name=NAME, hash=facts["hash"], symbols=SYMBOLS, **rest)


def plan(greeting: Greeting, **fault: object) -> None:
    data = json.dumps(fault).encode()
    with urllib.request.urlopen(f"{greeting.admin}/faults", data, timeout=10) as answer:
        assert "planned" == json.load(answer)["status"]


def test_the_rest_of_the_history_comes_from_a_fallback_and_is_noted(opened: tuple[OperationsSettings, Greeting]) -> None:
    operations, greeting = opened
    market, lake, told = market_of(greeting), lake_of(operations), list[Handover]()
    wanted = Wanted(f"bars_{NAME}", SYMBOLS, Timeframe.H1, market.history_until)
    ingest(history_source(market, operations, told.append), lake, Wanted(wanted.table, SYMBOLS, Timeframe.H1, market.history_until - timedelta(hours=100)))
    before = list(told)
    for path in ("/api/v3/klines", "/api/v3/time"):
        plan(greeting, kind="http", path=path, times=0)

    ingest(history_source(market, operations, told.append), lake, wanted)

    rows = lake.scan(f"raw/bars_{NAME}").collect()
    noted = lake.scan(f"raw/sources_{NAME}").collect()
    assert [] == before
    assert [("kraken", 100, 0.0)] * 2 == [(each.source, each.bars.height, each.divergence_bps) for each in told]
    assert dict.fromkeys(SYMBOLS, market.history_until) == dict(rows.group_by("symbol").agg(pl.col("open_time").max() + timedelta(hours=1)).iter_rows())
    assert rows.height == rows.n_unique(["symbol", "open_time"])
    assert 200 == noted.height
    assert ["kraken"] == noted.get_column("source").unique().to_list()


def test_a_new_market_has_no_fallback(opened: tuple[OperationsSettings, Greeting]) -> None:
    """Nothing of our own to compare with."""
    operations, greeting = opened
    market = market_of(greeting)
    for path in ("/api/v3/klines", "/api/v3/time"):
        plan(greeting, kind="http", path=path, times=0)

    with pytest.raises(SourceStale, match="found 0"):
        ingest(
            history_source(market, operations, lambda handover: None), lake_of(operations), Wanted(f"bars_{NAME}", SYMBOLS, Timeframe.H1, market.history_until)
        )
