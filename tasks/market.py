"""Open the market a run works on: recorded candles or the seeded synthetic one, served by the practice exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from configs.vocabulary import VenueName
from desk.errors import PreflightFailed
from desk.execution.ccxt_settings import Dialect, constructor_config, facade_config
from desk.execution.guarded import GuardedExchange
from desk.instruments import Instrument
from desk.market.exchange_source import PAGE_LIMITS, ExchangeSource, open_exchange
from desk.market.fallback_source import Fallback, FallbackSource, Handover
from desk.market.lake import Lake
from desk.market.source import Source
from tasks.candles import canonical_candles
from tasks.oversight import breaker_of
from tasks.places import lake_of
from tasks.policies import network_retries
from tasks.services import Greeting, ensure_exchange, recorded_exchange
from tasks.values import InstrumentRow, Market, dialect_of


@task(name="open_market", **network_retries())
def open_market(market: MarketSettings, operations: OperationsSettings, candles: Sequence[str]) -> Market:
    """Start or reuse the practice exchange on the wanted tape and describe it. PreflightFailed for a venue that this release cannot run on."""
    if market.venue is not VenueName.PRACTICE:
        raise PreflightFailed(
            f"expected market.venue practice, found {market.venue}: flows of this release trade on the practice exchange only; "
            "set DESK__MARKET__VENUE=practice, and give recorded candles of that venue with --candles"
        )
    facts = ensure_exchange(market, operations, canonical_candles(candles, operations)).market
    symbols = tuple(sorted(market.symbols or facts["symbols"]))
    offered = source_of(operations, dialect_of(symbols)).instruments()
    return Market(
        name=f"{'synthetic' if facts['synthetic'] else 'recorded'}_{facts['hash'][:10]}",
        hash=facts["hash"],
        symbols=symbols,
        timeframe=market.timeframe or facts["timeframe"],
        history_until=datetime.fromisoformat(facts["history_until"]),
        ends_at=datetime.fromisoformat(facts["ends_at"]),
        synthetic=facts["synthetic"],
        description=f"seeded SYNTHETIC market, seed {facts['seed']}" if facts["synthetic"] else f"recorded candles: {', '.join(Path(c).name for c in candles)}",
        instruments=tuple(InstrumentRow.of(_offered(symbol, offered)) for symbol in symbols),
    )


def _offered(symbol: str, offered: dict[str, Instrument]) -> Instrument:
    if symbol not in offered:
        raise PreflightFailed(f"expected a symbol that the venue lists, found {symbol} (market.symbols); it lists {', '.join(sorted(offered))}")
    return offered[symbol]


def connection(greeting: Greeting, dialect: Dialect = Dialect.SPOT) -> dict[str, Any]:
    """The ccxt constructor config that reaches this practice exchange."""
    return constructor_config(greeting.rest, greeting.ws, greeting.api_key, greeting.secret, dialect)


def source_of(operations: OperationsSettings, dialect: Dialect) -> ExchangeSource:
    """The exchange's market data through unmodified ccxt."""
    exchange = open_exchange(connection(running_exchange(operations), dialect), dialect.client)
    return ExchangeSource(GuardedExchange(exchange, breaker_of(operations, "data_source")))


def history_source(market: Market, operations: OperationsSettings, told: Callable[[Handover], None]) -> Source:
    """The exchange's bars for a market's table, with market.fallbacks behind it; `told` hears of bars that come from another.

    Which bars those are is kept in raw/sources_MARKET, written before the bars are.
    """
    first, faces = source_of(operations, market.dialect), running_exchange(operations).facades
    if not faces or market.dialect is not Dialect.SPOT:
        return first
    lake = lake_of(operations)

    def note(handover: Handover) -> None:
        rows = handover.bars.select("symbol", "timeframe", "open_time", pl.lit(handover.source).alias("source"), divergence_bps=handover.divergence_bps)
        lake.upsert("raw", f"sources_{market.name}", rows)
        told(handover)

    others = [Fallback(name, partial(_face, operations, name, url)) for name, url in faces.items()]
    return FallbackSource(first, others, partial(_stored, lake, f"raw/bars_{market.name}"), note)


def _face(operations: OperationsSettings, name: str, url: str) -> Source:
    return ExchangeSource(GuardedExchange(open_exchange(facade_config(name, url), name), breaker_of(operations, f"data_{name}")), PAGE_LIMITS[name])


def _stored(lake: Lake, table: str, symbol: str, before: datetime) -> pl.DataFrame:
    """A symbol's stored bars, in time order; empty when there is no table yet."""
    if not lake.history(table):
        return pl.DataFrame()
    return lake.scan(table).filter(pl.col("symbol") == symbol, pl.col("open_time") < before).collect().sort("open_time")


def running_exchange(operations: OperationsSettings) -> Greeting:
    """The practice exchange that `open_market` started; SourceStale when it is gone, so that the task is retried after a restart."""
    return recorded_exchange(operations)
